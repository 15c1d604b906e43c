"""Over ssh: how soon the prompt is there, and how fast a snapshot comes.

A real sshd on loopback, the user's own ssh, nothing shared and then one shared login.
`attach` runs on a terminal, from the command's start to its first prompt; `ssh HOST
true` stands beside it, in turn with it. What is left is ours: the client's start, the
remote Python's, and what both say to each other.

A snapshot that lies in its spool already is fetched by its id; beside it, in turn with
it, `cat` of a file with as many raw bytes as the spool has. Both go to where nothing is
kept, through a login of their own. Neither's start counts: the session stands before
its clock runs, and from `cat` goes what `ssh HOST true` takes. Both are so large that
what the transfer itself costs once, a request or a growing window, is lost in them.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from driver import SNAPSHOT, Failed, Target, running_target
from table import Row

TESTS = Path(__file__).parents[1]
sys.path[1:1] = [str(TESTS), str(TESTS / "integration"), str(TESTS / "e2e")]

from ssh_server import running_sshd  # noqa: E402
from terminal import on_a_screen  # noqa: E402

from liveheap.protocol.auth import Scope  # noqa: E402
from liveheap.protocol.messages import Chunk, Progress  # noqa: E402
from liveheap_client.dial import DialOptions  # noqa: E402
from liveheap_client.session import Session  # noqa: E402
from liveheap_client.target import parse  # noqa: E402

COLD_MS, WARM_MS, SHARE = 600, 300, 0.8
ALONE = ("-o", "ControlMaster=no", "-o", "ControlPath=none")
FETCHES = 5


@dataclass(frozen=True, slots=True)
class Desk:
    """From where the worker's machine is reached as `box`."""

    environ: dict[str, str]
    pid: int
    scratch: Path

    def ssh(self, command: str, *options: str) -> float:
        """Run a command there by ssh alone; return how long it took."""
        words = [*self.environ["LIVEHEAP_SSH"].split(), "-T", *options, "box", command]
        began = time.perf_counter()
        nothing = subprocess.DEVNULL
        subprocess.run(words, stdin=nothing, stdout=nothing, check=True)
        return time.perf_counter() - began

    @property
    def shared(self) -> tuple[str, str]:
        """The options with which ssh uses the login that liveheap shares."""
        place = Path(self.environ["HOME"], ".cache/liveheap/cm-%C")
        return "-o", f"ControlPath={place}"

    def session(self, *, shared: bool) -> Session:
        """Open a session from this process, whose imports are done."""
        options = DialOptions(
            environ=self.environ, multiplex=shared, has_terminal=False
        )
        return Session.open(parse("box"), scope=Scope.GRAPH, options=options)

    def client(self) -> None:
        """Start a client that gets as far as it does before it dials."""
        code = "import liveheap_client.cli"
        subprocess.run([sys.executable, "-c", code], env=self.environ, check=True)

    def attach(self, *words: str) -> float:
        """Attach on a terminal; return how long the first prompt took."""
        began = time.perf_counter()
        with on_a_screen("attach", "box", *words, env=self.environ) as screen:
            screen.wait_for(f"liveheap {self.pid}>")
            took = time.perf_counter() - began
            screen.type("\x04")
            screen.end()
        return took


def ssh_rows(objects: int, looks: int) -> Iterator[Row]:
    """Yield the rows of one target behind one sshd."""
    with running_target(objects, "fresh") as target, desk_of(target) as desk:
        yield attach_row(desk, looks, "cold", COLD_MS)
        yield attach_row(desk, looks, "with a warm master", WARM_MS)


def spool_rows(objects: int) -> Iterator[Row]:
    """Yield the row of a heap whose snapshot is large, behind one sshd."""
    with running_target(objects, "fresh") as target, desk_of(target) as desk:
        yield spool_row(desk)


@contextmanager
def desk_of(target: Target) -> Iterator[Desk]:
    directory = target.directory / "ssh"
    directory.mkdir(mode=0o700)
    try:
        with running_sshd(directory, run_dir=target.directory / "run") as server:
            home = target.directory / "d"  # short: a master's socket lies below it
            home.mkdir(mode=0o700)
            environ = server.environ(target.environ, HOME=str(home))
            environ.pop("PYTHONDONTWRITEBYTECODE", None)
            yield Desk(environ, target.pid, directory)
    except AssertionError as exc:
        raise Failed(str(exc)) from exc


def attach_row(desk: Desk, looks: int, how: str, limit_ms: int) -> Row:
    """Attach and `ssh HOST true` in turn; the difference of their medians."""
    alone = how == "cold"
    options = ALONE if alone else desk.shared
    python = f"{sys.executable} -c pass"
    ways: dict[str, Callable[[], float]] = {
        "attach": lambda: desk.attach(*(["--no-mux"] if alone else [])),
        "true": lambda: desk.ssh("true", *options),
        "python": lambda: desk.ssh(python, *options),
        "session": lambda: timed(lambda: desk.session(shared=not alone).close()),
        "client": lambda: timed(desk.client),
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(looks + 1):
        for name, way in ways.items():
            seconds = way()
            if number:
                took[name].append(seconds * 1000)
    ms = {name: statistics.median(all_of) for name, all_of in took.items()}
    ours = ms["attach"] - ms["true"]
    start, session = ms["python"] - ms["true"], ms["session"] - ms["true"]
    return Row(
        f"attach over ssh to the first prompt, {how}, less `ssh HOST true`",
        f"{ours:.0f} ms",
        f"<= {limit_ms} ms",
        f"ssh {ms['true']:.0f} ms; of ours: the client until it dials "
        f"{ms['client']:.0f}, the bridge and handshake there {session:.0f}, of which "
        f"Python's start {start:.0f}",
        met=ours <= limit_ms,
    )


def timed(way: Callable[[], object]) -> float:
    began = time.perf_counter()
    way()
    return time.perf_counter() - began


def spool_row(desk: Desk) -> Row:
    """Fetch what the worker's machine has in its spool, in turn with `cat` of as much.

    The first round warms caches and windows, and does not count.
    """
    with desk.session(shared=False) as session:
        known = spooled(session)
        _, raw, _ = fetched(session, known)
        file = random_file(desk.scratch / "as-much", raw)
        rounds = [in_turn(desk, session, known, file) for _ in range(FETCHES)]
        session.request("release", {"snapshot": known})
    none = statistics.median(each.none for each in rounds)
    cat = statistics.median(each.cat - none for each in rounds)
    ours = statistics.median(each.ours for each in rounds)
    share = statistics.median((each.cat - none) / each.ours for each in rounds)
    stored = statistics.median(each.stored for each in rounds)
    return Row(
        f"spooled snapshot of {raw / 1e6:.0f} MB through ssh: throughput",
        f"{raw / ours / 1e6:.0f} MB/s, {stored / 1e6:.0f} MB on the wire",
        f">= {SHARE} of `ssh HOST cat`",
        f"cat of as many raw bytes {raw / cat / 1e6:.0f} MB/s; both without their "
        "start, in turn",
        f"{share:.2f}",
        met=share >= SHARE,
    )


@dataclass(frozen=True, slots=True)
class Round:
    """The seconds of one round, and what ours had on the wire."""

    none: float
    cat: float
    ours: float
    stored: int


def in_turn(desk: Desk, session: Session, known: str, file: Path) -> Round:
    none = desk.ssh("true", *ALONE)
    cat = desk.ssh(f"cat {file}", *ALONE)
    ours, _, stored = fetched(session, known)
    return Round(none, cat, ours, stored)


def random_file(path: Path, size: int) -> Path:
    """Write a file that nothing on the way could make smaller."""
    with path.open("wb") as out:
        for begin in range(0, size, 1 << 20):
            out.write(os.urandom(min(1 << 20, size - begin)))
    return path


def spooled(session: Session) -> str:
    """Take a snapshot that outlives its request; return its id."""
    with closing(session.stream("snapshot", {**SNAPSHOT, "lease_s": 600.0})) as events:
        for event in events:
            if isinstance(event, Progress) and "snapshot" in event.detail:
                known = str(event.detail["snapshot"])
    return known


def fetched(session: Session, known: str) -> tuple[float, int, int]:
    """Fetch a spooled snapshot; return seconds, raw bytes and bytes on the wire."""
    raw = stored = 0
    began = time.perf_counter()
    rest = {"snapshot": known, "offset": 0}
    with closing(session.stream("resume", rest)) as events:
        for event in events:
            if isinstance(event, Chunk):
                raw += event.raw_length
                stored += len(event.data)
    return time.perf_counter() - began, raw, stored
