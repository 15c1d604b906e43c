"""The way to another machine: a doctor is run there, and what lies between looked at.

The shell of a login may print before the doctor does; its answer is the first JSON
object at the beginning of a line that is one of ours. If none comes, a second command
has the shell over there say what it finds, or, if there was no login, ssh's
configuration, the name and the port are looked at from here. Nothing is changed on
either side, and each step has a bounded time.
"""

import contextlib
import json
import os
import shlex
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from liveheap.errors import LiveheapError
from liveheap_client import patience as waiting
from liveheap_client.dial import DialOptions
from liveheap_client.doctor.far import DOCTOR_S, NOISE_LIMIT, PORT_S, FarFacts
from liveheap_client.errors import ConnectError, TimedOut, Unexplained, UsageError
from liveheap_client.patience import Patience
from liveheap_client.target import HERE, Kind, Target
from liveheap_client.transport import ssh
from liveheap_client.transport.command import CommandTransport

MAGIC = "doctor"
ANSWER_LIMIT = 4 << 20
PROBE_S = 20.0
_PROBE = (
    'echo "PATH $PATH"; '
    "for name in liveheap python3; do "
    'found=$(command -v $name) && echo "HERE $name $found"; done; '
    "for found in ~/.local/bin/liveheap /usr/local/bin/liveheap "
    "/opt/*/bin/liveheap ~/*/bin/liveheap ~/.venv/bin/liveheap; do "
    '[ -x "$found" ] && echo "FOUND $found"; done; true'
)


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
        return replace(facts, error=str(error), hint=error.hint)
    with contextlib.closing(transport):
        data, timed_out = _read_all(transport, DOCTOR_S, host, options)
        code = None if timed_out else transport.exit_code()
        talk = transport.talk
    report, noise = find_report(data)
    facts = replace(
        facts,
        code=code,
        talk=talk,
        noise=noise[-2000:],
        noise_bytes=len(noise.encode()),
        seconds=time.monotonic() - began,
        report=report,
        timed_out=timed_out,
    )
    if report is not None or not facts.is_ssh:
        return facts
    explained = ssh.explain(host)(code, talk)
    if isinstance(explained, Unexplained) and options.multiplex:
        return look(target, replace(options, multiplex=False))
    facts = replace(facts, error=str(explained), hint=getattr(explained, "hint", None))
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


def _read_all(
    transport: CommandTransport, within_s: float, host: str, options: DialOptions
) -> tuple[bytes, bool]:
    """Return what it prints until it ends, and whether it was given up."""
    reason = f"no answer from {host} yet"
    deadline, data = time.monotonic() + within_s, b""
    transport.end_sending()
    while len(data) <= ANSWER_LIMIT:
        left = max(deadline - time.monotonic(), 0)
        limits = Patience(left, options.ungreeted_s, options.tell)
        try:
            piece = waiting.receive(transport, limits, pid=None, reason=lambda: reason)
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
    facts = replace(
        facts,
        config=config,
        keys=tuple(_readable_keys(config)),
        has_agent=_agent_has_keys(options.environ),
    )
    if facts.reached:
        return replace(facts, probe=_probed(facts.host, options))
    if config.get("proxyjump") or config.get("proxycommand"):
        return facts
    resolves, port_open = _way(config)
    return replace(facts, resolves=resolves, port_open=port_open)


def _readable_keys(config: Mapping[str, str]) -> Iterator[str]:
    for name in config.get("identityfile", "").splitlines():
        path = os.path.expanduser(name)
        if os.access(path, os.R_OK):
            yield path


def _agent_has_keys(environ: Mapping[str, str]) -> bool:
    if not environ.get("SSH_AUTH_SOCK"):
        return False
    return "SHA256" in _output(["ssh-add", "-l"], 3.0)


def _way(config: Mapping[str, str]) -> tuple[bool, bool | None]:
    """Whether the name is known, and whether anybody listens."""
    name, port = config.get("hostname", ""), int(config.get("port", "22") or 22)
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False, None
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as tried:
        tried.settimeout(PORT_S)
        return True, not _fails(tried, address)


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
            data, _ = _read_all(transport, PROBE_S, host, options)
    except LiveheapError:
        return {}
    said: dict[str, list[str]] = {}
    for line in data[-NOISE_LIMIT:].decode("utf-8", "replace").splitlines():
        word, _, rest = line.partition(" ")
        if word in ("PATH", "HERE", "FOUND"):
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
