"""No secret of a worker leaves by any verb: not in what one sees, nor in a file, nor on
the wire (REMOTE.md 10, cases 20 and 7).

The worker (integration/workers/secrets_host.py) holds the word SECRET wherever a value
can stand. Every verb that there is asks it; a verb that is not in the table below fails
the first test. What was written, said and sent is searched for the word, packed or not,
and for the token in every spelling.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from e2e.many_verbs import Client, Done
from eavesdropping import Wiretap, below, found, spellings
from spawn import Stage, Worker

from liveheap.commands import COMMANDS
from liveheap_client import bare, cli

pytestmark = pytest.mark.timeout(900)  # one fixture runs a hundred command lines
WORD, NAMED = "SECRET9", "NAMED9"
ADDRESS = re.compile(rb"0x[0-9a-f]{6,}")

# Each verb with what follows it; T is the worker, F a snapshot of it, G a later one,
# OUT a new file. A command of the agent that no verb overrides is a verb, too.
ASKED: dict[str, tuple[str, ...]] = {
    "ps": ("", "--json", "localhost"),
    "run": ("-- python -c pass",),
    "inject": ("PID --yes", "PID --yes --json"),
    "bridge": ("--pid PID", "--list", "--name SECRET9_nobody", "--socket TAP"),
    "status": ("T", "T --json", "PID"),
    "history": ("T", "T --json"),
    "tasks": ("T", "T --json"),
    "memory": ("T", "T --json"),
    "histogram": ("T --json --limit 5000", "F --limit 5000"),
    "gc": ("T --json",),
    "trim": ("T --json --force",),
    "snapshot": ("T -o OUT", "T --json -o OUT --texts", "PID -o OUT --force"),
    "attach": ("T",),
    "detach": ("T", "PID"),
    "leaks": ("F G", "F G --json", "PID --all --interval 0.1 --rounds 2 --keep DIR"),
    "diff": ("F G", "F G --json", "T --interval 0.1 --rounds 2 --keep DIR"),
    "backrefs": ("Account F", "str F --json", "dict F --html OUT", "str F --svg OUT"),
    "paths": ("Account F", "str F --json", "ADDRESS F", "bytes T"),
    "top": ("F --json --limit 500",),
    "dominators": ("F", "F --json"),
    "collections": ("F G",),
    "strings": ("F --limit 500", "F --json --limit 500", "T"),
    "object": ("ADDRESS F", "ADDRESS F --json"),
    "report": ("F G -o OUT",),
    "export": (
        *(f"F --format {name} -o OUT" for name in ("heapsnapshot", "pprof", "dot")),
        "F --format parquet -o DIR",
        "F --format dot --type str -o OUT",
    ),
    "completion": ("bash", "zsh", "fish"),
    "token": ("", "--json", "--scope graph --ttl 1h --json"),
    "doctor": ("", "PID", "PID --json"),
    "console": ("T -c HELD",),
    "clone": ("T -c h",),
    "gateway": ("--listen 192.0.2.1:1",),
    "stop": ("PID",),
}
REFUSED = {"console", "clone", "detach", "bridge", "gateway"}
LAST = ("detach", "stop")
NOT_ASKED = {"demo": "it asks a worker of its own"}
IN_SHELL = (
    "status\nhistory\ntasks\nmemory\nhistogram\nsnapshot --texts\ntop\nstrings\nexit\n"
)
# What is refused, told wrong, or goes wrong; each says something.
WRONG = (
    "histogram T --limit many",
    "snapshot T --timeout-s -1",
    "paths SECRET9_nothing F",
    "object 0x10 F",
    "backrefs SECRET9_nothing T",
    "status SECRET9_nobody/4711 --connect-timeout 5 --via false",
    "nonsense T",
)


@dataclass
class Heard:
    """All that left the worker."""

    done: list[Done] = field(default_factory=list)
    wire: bytes = b""
    files: dict[str, bytes] = field(default_factory=dict)
    told: bytes = b""
    names: set[str] = field(default_factory=set)
    token: bytes = b""

    def places(self, word: str | bytes) -> dict[str, list[bytes]]:
        """Return where a word was found."""
        sources = {
            **{" ".join(done.words): done.said for done in self.done},
            **self.files,
            "the wire": self.wire,
            "the worker's standard error": self.told,
        }
        held = ((name, found(word, data)) for name, data in sources.items())
        return {name: places for name, places in held if places}


def verbs() -> set[str]:
    """Return the names of all verbs that there are."""
    return {verb.name for verb in cli.verbs()} | set(bare.SUMMARIES)


def written_out(words: str, places: dict[str, str], count: Iterator[int]) -> list[str]:
    """Put places for the words that stand for them."""
    known = [places.get(word, word) for word in words.split()]
    return [f"{word.lower()}-{next(count)}" if word in ("OUT", "DIR") else word
            for word in known]  # fmt: skip


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Heard]:
    """Ask everything, once."""
    stage, home = Stage(), tmp_path_factory.mktemp("client")
    try:
        worker = stage.spawn(
            "secrets_host",
            f"--password={WORD}-1",
            WORD,
            "worker",
            env={"DATABASE_URL": f"postgres://{WORD}@db", "LIVEHEAP_HISTORY": "0.05"},
        )
        yield ask_everything(worker, home)
    finally:
        stage.close()


def ask_everything(worker: Worker, home: Path) -> Heard:
    """Run every command line of the tables against a worker: those about files beside
    those that ask it, of which one at a time is answered."""
    heard = Heard(token=(worker.run_dir / "token").read_bytes())
    env = {**worker.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    numbers = iter(range(1000))
    with (
        Wiretap(worker.wait_for_socket(), worker.run_dir.parent) as tap,
        Client(env, home) as asking,
        Client(env, home) as looking,
        ThreadPoolExecutor(2) as both,
    ):
        places = {"T": f"unix:{tap.path}", "PID": str(worker.pid), "TAP": str(tap.path)}
        for name in ("F", "G"):
            places[name] = str(home / f"{name}.liveheap")
            told = f"snapshot T -o {name}.liveheap --texts --force"
            heard.done.append(asking.run(*written_out(told, places, numbers)))
        told = asking.run("paths", "Account", places["F"], "--json")
        places["ADDRESS"] = hex(int(re.search(rb'"address": (\d+)', told.out)[1]))  # type: ignore[index]
        lines = {is_live: list(command_lines(is_live)) for is_live in (True, False)}
        said = both.map(
            lambda is_live: [
                (asking if is_live else looking).run(
                    *written_out(line, places, numbers),
                    stdin=IN_SHELL if line.startswith("attach") else "",
                )
                for line in lines[is_live]
            ],
            (True, False),
        )
        for done in said:
            heard.done += done
    heard.wire = bytes(tap.heard)
    heard.files = {**below(home), **below(worker.run_dir)}
    heard.files.pop("token")
    heard.told = worker.stderr.encode()
    return heard


def command_lines(is_live: bool) -> Iterator[str]:
    """Yield the command lines that ask the worker, or the others."""
    asked = sorted(ASKED.items(), key=lambda item: item[0] in LAST)
    every = [f"{verb} {line}" for verb, lines in asked for line in lines]
    n_last = sum(len(ASKED[verb]) for verb in LAST)
    for line in (*every[:-n_last], *WRONG, *every[-n_last:]):
        if is_live != bool({"F", "G"} & set(line.split())):
            yield line


def test_every_verb_is_asked() -> None:
    untold = verbs() - set(ASKED) - set(NOT_ASKED)
    assert not untold, f"give {sorted(untold)} a line in ASKED: do they leak a secret?"
    assert {command.name for command in COMMANDS if command.is_verb} <= verbs()


def test_the_verbs_answer(heard: Heard) -> None:
    wrong = {line.split()[0] for line in WRONG} | REFUSED
    failed = [
        (done.words, done.code, done.err[-300:])
        for done in heard.done
        if done.code and done.words[0] not in wrong
    ]
    assert failed == []
    assert sum(done.code != 0 for done in heard.done) >= len(WRONG)


def test_no_secret_is_said_written_or_sent(heard: Heard) -> None:
    searched = (*(done.words for done in heard.done), heard.wire, *heard.files.values())
    assert len(heard.wire) > 1 << 20
    assert len(searched) > 60
    asked_for = "_no"  # the words that the test itself typed
    places = {
        where: [place for place in held if WORD.encode() + b"_no" not in place]
        for where, held in heard.places(WORD).items()
    }
    assert asked_for in str(WRONG)
    assert {where: held for where, held in places.items() if held} == {}


def test_the_token_is_nowhere(heard: Heard) -> None:
    assert len(heard.token) == 32
    for spelling in spellings(heard.token):
        assert heard.places(spelling) == {}


def test_what_is_looked_for_would_be_found(heard: Heard) -> None:
    assert "the wire" in heard.places(f"{NAMED}_attribute")
    assert any(name.endswith(".liveheap") for name in heard.places("wait_in_thread"))
    assert heard.places("Account")
