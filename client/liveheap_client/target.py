"""A target: where a worker is, as a person types it.

    4711                      a process of this machine
    host  user@host           a machine, reached through ssh
    localhost/NAME            a worker of this machine, without ssh
    host/4711  host/NAME      one worker there
    host:port  [::1]:port     an agent's or a gateway's loopback port on that machine
    host:port/4711 .../NAME   one worker behind that gateway
    unix:PATH                 a socket here
    --via 'CMD ...'           any command whose stdio is the stream

Host and user go to ssh as words of an argument vector, never through a shell of
ours. But ssh itself may paste them into a ProxyCommand of the user's configuration,
which a shell does read, so only the characters of real host and user names pass;
`-oProxyCommand=...` as a host name is the classic injection. The worker's NAME is
quoted by whoever builds the remote command, hence it may hold anything printable.
"""

import re
import shlex
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from liveheap_client.errors import UsageError

FORMS = "4711, host, user@host, host/4711, host/NAME, host:port, unix:PATH"
_HINT = f"a target is one of: {FORMS}; or use --via 'CMD ...'"

HERE = "localhost"
_LONGEST = 253
_LARGEST_PID = 2**22
_USER = re.compile(r"[A-Za-z0-9_.+][A-Za-z0-9_.+@-]*")
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9_.-]+)?")
_LOOPBACK = frozenset({HERE, "127.0.0.1", "::1"})


class Kind(Enum):
    """How the stream to the agent is had."""

    LOCAL = "local"
    UNIX = "unix"
    PORT = "port"
    SSH = "ssh"
    VIA = "via"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a worker is. Fields that its kind does not use are None."""

    kind: Kind
    text: str
    host: str | None = None
    pid: int | None = None
    name: str | None = None
    port: int | None = None
    path: str | None = None
    command: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.text


def parse(text: str) -> Target:
    """Return the target that `text` names; raise UsageError if it names none."""
    _refuse_unsafe(text)
    if text.isascii() and text.isdigit():
        return Target(Kind.LOCAL, text, pid=_pid(text, text))
    if text.startswith("unix:"):
        return _unix(text)
    if text.startswith((".", "/", "~")):
        raise UsageError(f"a path is no target: {text[:80]!r}", hint=_HINT)
    return _remote(text)


def via(command: str) -> Target:
    """Return the target behind the stdio of a command; no shell reads it."""
    try:
        words: Sequence[str] = shlex.split(command)
    except ValueError as exc:
        raise UsageError(f"--via {command!r}: {exc}") from exc
    if not words or not words[0]:
        raise UsageError("--via needs a command", hint=_HINT)
    return Target(Kind.VIA, f"via {words[0]}", command=tuple(words))


def is_this_machine(host: str) -> bool:
    """Return whether a host's loopback interface is ours."""
    return host in _LOOPBACK or host == socket.gethostname()


def _refuse_unsafe(text: str) -> None:
    if not text:
        raise UsageError("the target is empty", hint=_HINT)
    if text.startswith("-"):
        raise UsageError(f"a target does not begin with '-': {text!r}", hint=_HINT)
    if any(mark.isspace() or not mark.isprintable() for mark in text):
        raise UsageError(
            f"a target holds no blanks and no control characters: {text[:80]!r}",
            hint=_HINT,
        )


def _unix(text: str) -> Target:
    path = text.removeprefix("unix:")
    if not path:
        raise UsageError("unix: needs the path of a socket", hint=_HINT)
    return Target(Kind.UNIX, text, path=path)


def _remote(text: str) -> Target:
    place, slash, worker = text.partition("/")
    user, host, port_text = _split_place(place, text)
    address = f"{user}@{host}" if user else host
    if port_text is not None:
        kind, where, port = Kind.PORT, address, _port(port_text, text)
    elif address == HERE:
        kind, where, port = Kind.LOCAL, None, None
    else:
        kind, where, port = Kind.SSH, address, None
    if not slash:
        return Target(kind, text, host=where, port=port)
    if not worker:
        raise UsageError(f"{text!r} ends before the worker", hint=_HINT)
    if worker.isascii() and worker.isdigit():
        return Target(kind, text, host=where, port=port, pid=_pid(worker, text))
    return Target(kind, text, host=where, port=port, name=worker)


def _split_place(place: str, text: str) -> tuple[str, str, str | None]:
    """Split `[user@]host[:port]` or `[user@][v6][:port]`."""
    user, at, rest = place.rpartition("@")
    if at and not _USER.fullmatch(user):
        raise UsageError(f"not the name of a user: {user!r}", hint=_HINT)
    if rest.startswith("["):
        host, bracket, tail = rest[1:].partition("]")
        if not bracket or not _IPV6.fullmatch(host) or (tail and tail[0] != ":"):
            raise UsageError(f"not an address in brackets: {text!r}", hint=_HINT)
        return user, host, tail[1:] if tail else None
    if rest.count(":") > 1:
        raise UsageError(
            f"an IPv6 address stands in brackets: {text!r}", hint="write [::1]:port"
        )
    host, colon, port = rest.partition(":")
    if len(host) > _LONGEST or not _HOST.fullmatch(host):
        raise UsageError(f"not the name of a host: {host[:80]!r}", hint=_HINT)
    return user, host, port if colon else None


def _pid(digits: str, text: str) -> int:
    if len(digits) > len(str(_LARGEST_PID)) or not 1 <= int(digits) <= _LARGEST_PID:
        raise UsageError(f"not a process id: {text[:80]!r}", hint=_HINT)
    return int(digits)


def _port(digits: str, text: str) -> int:
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5):
        raise UsageError(f"not a port: {text[:80]!r}", hint=_HINT)
    if not 1 <= int(digits) <= 65535:
        raise UsageError(f"a port is between 1 and 65535: {text!r}", hint=_HINT)
    return int(digits)
