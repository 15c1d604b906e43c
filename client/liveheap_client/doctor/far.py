"""What a doctor's run on another machine means: its word, or why there is none.

There `liveheap doctor --json` runs, over the transport that every verb uses: see
journey.py. Its word on that machine is final. Where none came, what was found between
here and there says why: ssh's own last words, the configuration as ssh has understood
it, the name, the port, the key files; and where the login works but liveheap does not,
what a shell over there found.
"""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from liveheap import __version__
from liveheap_client.doctor.finding import Finding, note, ok, problem
from liveheap_client.transport.command import last_lines

CHECK = "ssh"
NOISE_LIMIT = 64 << 10
DOCTOR_S, PORT_S = 60.0, 3.0
_NOT_FOUND, _NOT_EXECUTABLE, _USAGE, _SSH_FAILED = 127, 126, 2, 255


@dataclass(frozen=True, slots=True)
class FarFacts:
    """How the doctor's run over there ended."""

    host: str
    """As it was typed, for hints."""
    is_ssh: bool = True
    code: int | None = None
    talk: str = ""
    noise: str = ""
    noise_bytes: int = 0
    seconds: float = 0.0
    report: Mapping[str, Any] | None = None
    error: str | None = None
    hint: str | None = None
    timed_out: bool = False
    config: Mapping[str, str] = field(default_factory=dict)
    """What ssh makes of its configuration for this host: `ssh -G`."""
    keys: tuple[str, ...] = ()
    """Key files that are there and can be read."""
    has_agent: bool = False
    """Whether an ssh-agent holds keys."""
    resolves: bool | None = None
    port_open: bool | None = None
    probe: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What a shell over there said."""

    @property
    def reached(self) -> bool:
        """Whether a command ran over there."""
        return self.code is not None and (not self.is_ssh or self.code != _SSH_FAILED)


def judge(facts: FarFacts) -> Iterator[Finding]:
    """Say how we got there, then what was found there; or why we did not."""
    if facts.report is None:
        yield from _failed(facts)
        return
    yield ok(CHECK, f"{facts.host} was reached in {facts.seconds:.1f} s")
    if facts.noise_bytes:
        yield note(
            CHECK,
            f"its shell prints {facts.noise_bytes} bytes before our first word; "
            f"{NOISE_LIMIT >> 10} KiB are skipped",
            "let .bashrc print nothing where the shell is not interactive",
        )
    theirs = str(facts.report.get("version", "?"))
    if theirs != __version__:
        yield note(
            "versions",
            f"{facts.host} has liveheap {theirs}, this is {__version__}",
            "pip install -U liveheap, on the older side",
        )
    for found in facts.report.get("findings") or ():
        if isinstance(found, dict):
            yield _from_there(Finding.from_json(found), facts)


def _from_there(found: Finding, facts: FarFacts) -> Finding:
    """Return a finding whose hint is to be typed here."""
    if found.hint is None or not facts.is_ssh:
        return found
    hint = f"on {facts.host}: {found.hint}"
    return Finding(found.check, found.state, found.said, hint)


def _failed(facts: FarFacts) -> Iterator[Finding]:
    """Say why nobody's word came back."""
    if facts.timed_out:
        yield problem(
            CHECK,
            f"{facts.host} gave no answer within {DOCTOR_S:g} s",
            f"ssh {facts.host} true" if facts.is_ssh else "run the command by hand",
        )
    elif not facts.is_ssh:
        said = " / ".join(
            [facts.error or f"exit code {facts.code}", *last_lines(facts.talk)]
        )
        yield problem(
            "via",
            f"the command behind --via printed no answer of a doctor: {said}",
            facts.hint or "is liveheap installed there? pip install liveheap",
        )
    elif facts.reached:
        yield ok(CHECK, f"the login at {facts.host} works")
        yield _nothing_there(facts)
    else:
        yield problem(
            CHECK,
            (facts.error or "ssh failed").replace("\n", ": ", 1).replace("\n", " / "),
            _typed(facts),
        )
        yield from _between(facts)


def _typed(facts: FarFacts) -> str:
    """Return what to type, which is not what was typed."""
    if facts.hint is None or "liveheap doctor" in facts.hint:
        return f"ssh -v {facts.host} true"
    return facts.hint


def _nothing_there(facts: FarFacts) -> Finding:
    """Say why the login works and liveheap does not."""
    if facts.code == _NOT_FOUND:
        return _not_found(facts)
    if facts.code == _NOT_EXECUTABLE:
        return problem(
            "liveheap",
            f"liveheap on {facts.host} cannot be executed",
            f"--remote-command names another one; ssh {facts.host} ls -l "
            "'$(command -v liveheap)'",
        )
    if facts.code in (_USAGE, 1) and "doctor" in facts.talk:
        return problem(
            "versions",
            f"the liveheap on {facts.host} has no doctor: it is older than this, "
            f"{__version__}",
            f"ssh {facts.host} python3 -m pip install -U liveheap",
        )
    if not facts.probe:
        return problem(
            "shell",
            f"{facts.host} runs no commands of ours: a ForceCommand or a restricted "
            f"shell answered (exit code {facts.code}): {_last_words(facts)}",
            "let that account run `liveheap bridge`, or use another",
        )
    return problem(
        "liveheap",
        f"liveheap on {facts.host} ended with exit code {facts.code}: "
        f"{_last_words(facts)}",
        f"try it by hand: ssh {facts.host} liveheap doctor",
    )


def _last_words(facts: FarFacts) -> str:
    """Return in one line what was said there last."""
    lines = last_lines(facts.talk) or last_lines(facts.noise)
    return " / ".join(lines) or "it said nothing"


def _not_found(facts: FarFacts) -> Finding:
    """Say where the liveheap may be that its PATH does not lead to."""
    path = next(iter(facts.probe.get("PATH", ())), "unknown")
    said = (
        f"there is no liveheap on the PATH of {facts.host}, which for a command over "
        f"ssh is {path}"
    )
    places = facts.probe.get("FOUND", ())
    if places:
        name = f"--remote-command {shlex.quote(places[0])}"
        return problem(
            "liveheap",
            f"{said}; there is one at {places[0]}",
            f"liveheap doctor {facts.host} {name}",
        )
    if any(each.startswith("python3 ") for each in facts.probe.get("HERE", ())):
        return note(
            "liveheap",
            f"{said}; workers are asked through its python3, but inject and doctor "
            "need liveheap there, and ps knows more with it",
            f"ssh {facts.host} python3 -m pip install liveheap",
        )
    return problem(
        "liveheap",
        f"{said}; nor is there a python3",
        f"install it where that PATH leads, or name it: liveheap doctor {facts.host} "
        "--remote-command /path/to/venv/bin/liveheap",
    )


def _between(facts: FarFacts) -> Iterator[Finding]:
    """Say what of ssh's own surroundings may be the reason."""
    config = facts.config
    name, port = config.get("hostname", facts.host), config.get("port", "22")
    if not config:
        yield note(CHECK, "ssh does not say how it reads its configuration: ssh -G")
        return
    through = config.get("proxyjump") or config.get("proxycommand")
    way = f" through {through}" if through else ""
    yield note(CHECK, f"ssh goes to {config.get('user', '?')}@{name} port {port}{way}")
    if facts.resolves is False:
        yield problem(
            CHECK,
            f"the name {name} is not known here",
            f"getent hosts {name}; or a HostName in ~/.ssh/config",
        )
    elif facts.port_open is False:
        yield problem(
            CHECK,
            f"nobody accepts connections at {name} port {port} within {PORT_S:g} s",
            "is the machine up, does sshd run there, does a firewall stand between?",
        )
    if "Permission denied" in facts.talk:
        yield from _keys(facts)


def _keys(facts: FarFacts) -> Iterator[Finding]:
    if facts.keys or facts.has_agent:
        offered = [*facts.keys, *(["those of your ssh-agent"] * facts.has_agent)]
        yield note(
            CHECK,
            f"keys that ssh may offer: {', '.join(offered)}; that account accepts none",
            f"ssh-copy-id {facts.host}",
        )
    else:
        yield problem(
            CHECK,
            "ssh has no key to offer: none of its key files is there, and no ssh-agent "
            "holds one",
            f"ssh-keygen, then ssh-copy-id {facts.host}",
        )
