"""A machine behind ssh, or behind --via: the doctor there, and what keeps us from it.

There `liveheap doctor --json` runs over the transport that every verb uses; its word on
that machine is final. What lies between is looked at here: ssh's own last words, its
configuration as it has understood it, the name, the port, the key files; and where the
login works but liveheap does not, what a shell over there finds.
"""

import contextlib
import json
import os
import shlex
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from liveheap import __version__
from liveheap.errors import LiveheapError
from liveheap_client.dial import DialOptions
from liveheap_client.doctor.finding import Finding, note, ok, problem
from liveheap_client.errors import ConnectError, TimedOut, UsageError
from liveheap_client.target import HERE, Kind, Target
from liveheap_client.transport import ssh
from liveheap_client.transport.command import CommandTransport, last_lines

CHECK = "ssh"
MAGIC = "doctor"
NOISE_LIMIT = 64 << 10
ANSWER_LIMIT = 4 << 20
DOCTOR_S, PROBE_S, PORT_S = 60.0, 20.0, 3.0
_NOT_FOUND, _NOT_EXECUTABLE, _USAGE, _SSH_FAILED = 127, 126, 2, 255
_PROBE = (
    'echo "PATH $PATH"; echo "SHELL $0"; '
    "for name in liveheap python3; do "
    'found=$(command -v $name) && echo "HERE $name $found"; done; '
    "for found in ~/.local/bin/liveheap /usr/local/bin/liveheap "
    "/opt/*/bin/liveheap ~/*/bin/liveheap ~/.venv/bin/liveheap; do "
    '[ -x "$found" ] && echo "FOUND $found"; done; true'
)


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


def look(target: Target, options: DialOptions) -> FarFacts:
    """Run the doctor over there; where that fails, look at what lies between."""
    began = time.monotonic()
    host = target.host or str(target)
    facts = FarFacts(host=host, is_ssh=target.kind is not Kind.VIA)
    try:
        transport = _start(target, options)
    except UsageError:
        raise
    except ConnectError as error:
        return _with(facts, error=str(error), hint=error.hint)
    with contextlib.closing(transport):
        data, timed_out = _read_all(transport, DOCTOR_S)
        code = None if timed_out else transport.exit_code()
        talk = transport.talk
    report, noise = find_report(data)
    facts = _with(
        facts,
        code=code,
        talk=talk,
        noise="\n".join(last_lines(noise)),
        noise_bytes=len(noise.encode()),
        seconds=time.monotonic() - began,
        report=report,
        timed_out=timed_out,
    )
    if report is not None or not facts.is_ssh:
        return facts
    explained = ssh.explain(host)(code, talk)
    facts = _with(facts, error=str(explained), hint=getattr(explained, "hint", None))
    return _looked_between(facts, options)


def _start(target: Target, options: DialOptions) -> CommandTransport:
    words = ["--json", *_there(target)]
    if target.kind is Kind.VIA:
        command = list(target.command)
        if "bridge" not in command:
            raise UsageError(
                "the doctor takes the place of `bridge` in the command behind --via",
                hint="--via 'docker exec -i NAME liveheap bridge --pid 1'",
            )
        at = command.index("bridge")
        return CommandTransport([*command[:at], "doctor", *words, *_pid(command[at:])])
    return CommandTransport(_ssh(target, options, _doctor(options, words)))


def _there(target: Target) -> list[str]:
    """Return the target as the machine over there knows it."""
    if target.pid is not None:
        return [str(target.pid)]
    if target.name is not None:
        return [f"{HERE}/{target.name}"]
    return [f"{HERE}:{target.port}"] if target.port is not None else []


def _pid(words: Sequence[str]) -> list[str]:
    """Return the process that a bridge's words name."""
    if "--pid" in words[:-1]:
        return [words[words.index("--pid") + 1]]
    return []


def _doctor(options: DialOptions, words: Sequence[str]) -> str:
    program = options.remote_command or "liveheap"
    return " ".join([program, "doctor", *map(shlex.quote, words)])


def _ssh(target: Target, options: DialOptions, command: str) -> list[str]:
    assert target.host is not None
    return ssh.command_line(
        target.host,
        command,
        environ=options.environ,
        connect_timeout_s=options.connect_timeout_s,
        has_terminal=options.has_terminal,
        multiplex=options.multiplex,
    )


def _read_all(transport: CommandTransport, within_s: float) -> tuple[bytes, bool]:
    """Return what it prints until it ends, and whether it was given up."""
    deadline, data = time.monotonic() + within_s, b""
    transport.end_sending()
    while len(data) <= ANSWER_LIMIT:
        try:
            piece = transport.receive(timeout=max(deadline - time.monotonic(), 0))
        except TimedOut:
            return data, True
        if not piece:
            return data, False
        data += piece
    return data, True


def find_report(data: bytes) -> tuple[Mapping[str, Any] | None, str]:
    """Find a doctor's answer behind what a login shell may print; return both."""
    text = data.decode("utf-8", "replace")
    at = 0
    while 0 <= (at := text.find("{", at)) <= NOISE_LIMIT:
        if at == 0 or text[at - 1] == "\n":
            with contextlib.suppress(ValueError, RecursionError):
                found, _ = json.JSONDecoder().raw_decode(text, at)
                if isinstance(found, dict) and MAGIC in found:
                    return found, text[:at]
        at += 1
    return None, text


def _looked_between(facts: FarFacts, options: DialOptions) -> FarFacts:
    """Look at ssh's configuration; then either at the way, or at the shell there."""
    config = ssh.settings(ssh.client_program(options.environ), facts.host)
    facts = _with(
        facts,
        config=config,
        keys=tuple(_readable_keys(config)),
        has_agent=_agent_has_keys(options.environ),
    )
    if facts.reached:
        return _with(facts, probe=_probed(facts.host, options))
    if config.get("proxyjump") or config.get("proxycommand"):
        return facts
    return _with(facts, **_way(config))


def _readable_keys(config: Mapping[str, str]) -> Iterator[str]:
    for name in config.get("identityfile", "").splitlines():
        path = os.path.expanduser(name)
        if os.access(path, os.R_OK):
            yield path


def _agent_has_keys(environ: Mapping[str, str]) -> bool:
    if not environ.get("SSH_AUTH_SOCK"):
        return False
    return "SHA256" in _output(["ssh-add", "-l"], 3.0)


def _way(config: Mapping[str, str]) -> dict[str, bool]:
    """Whether the name is known, and whether anybody listens."""
    name, port = config.get("hostname", ""), int(config.get("port", "22") or 22)
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return {"resolves": False}
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as tried:
        tried.settimeout(PORT_S)
        return {"resolves": True, "port_open": not _fails(tried, address)}


def _fails(tried: socket.socket, address: Any) -> bool:
    try:
        tried.connect(address)
    except OSError:
        return True
    return False


def _probed(host: str, options: DialOptions) -> dict[str, tuple[str, ...]]:
    """Ask a shell over there what it finds; {} if there is no such shell."""
    target = Target(Kind.SSH, host, host=host)
    command = f"sh -c {shlex.quote(_PROBE)}"
    try:
        transport = CommandTransport(_ssh(target, options, command))
        with contextlib.closing(transport):
            data, _ = _read_all(transport, PROBE_S)
    except LiveheapError:
        return {}
    said: dict[str, list[str]] = {}
    for line in data[-NOISE_LIMIT:].decode("utf-8", "replace").splitlines():
        word, _, rest = line.partition(" ")
        if word in ("PATH", "SHELL", "HERE", "FOUND"):
            said.setdefault(word, []).append(rest)
    return {word: tuple(lines) for word, lines in said.items()}


def _output(command: Sequence[str], within_s: float) -> str:
    """Return what a command of this machine prints; nothing if it cannot be run."""
    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=within_s,
            check=False,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace")


def _with(facts: FarFacts, **more: Any) -> FarFacts:
    return replace(facts, **more)


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
            filter(None, [facts.error or f"exit code {facts.code}", facts.talk])
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
            f"shell answered (exit code {facts.code}): {facts.noise or facts.talk}",
            "let that account run `liveheap bridge`, or use another",
        )
    return problem(
        "liveheap",
        f"liveheap on {facts.host} ended with exit code {facts.code}: "
        f"{' / '.join(last_lines(facts.talk)) or facts.noise or 'it said nothing'}",
        f"try it by hand: ssh {facts.host} liveheap doctor",
    )


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
            f"{said}; workers are asked through its python3, but ps, inject and doctor "
            "need liveheap there",
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
