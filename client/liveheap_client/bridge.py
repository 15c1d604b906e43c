"""`liveheap bridge`: runs on the worker's machine, at the far end of an ssh.

It finds the worker with this user's own permissions, reads the token here, shakes hands
and says on stdout who answers: the magic and one line of JSON. Then it relays bytes
both ways without reading them. No token leaves the machine. The end of stdin becomes a
half close towards the agent; the end of the agent's stream ends the bridge.

A raw bridge only finds the worker and connects: whoever is at the other end holds a key
of his own and shakes hands himself. Its greeting says whom it has found. So an account
that may run nothing but `liveheap bridge --raw` gives nobody more than the key he has.

A failure is told in the same line of JSON, so that the client can say it in its own
words: {"bridge": 1, "error": CODE, "message": ..., "hint": ...}. Standard library and
the protocol's first step only.
"""

import json
import os
import select
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from liveheap.errors import AuthenticationError, LiveheapError
from liveheap.protocol.auth import Agreed
from liveheap_client import reach, roster, workers
from liveheap_client.asker import told_of
from liveheap_client.errors import (
    ConnectError,
    TimedOut,
    UsageError,
    exit_code,
)
from liveheap_client.reach import Door, Reach
from liveheap_client.transport.greeting import MAGIC

BRIDGE_VERSION = 1
BUFFER_BYTES = 1 << 18
_LINGER_S = 60.0

_STDIN, _STDOUT = 0, 1

_CODES: tuple[tuple[type[LiveheapError], str], ...] = (
    (AuthenticationError, "authentication"),
    (UsageError, "choose"),
    (TimedOut, "not-answering"),
    (ConnectError, "connect"),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which worker the other end asked for; nothing set: the only one."""

    pid: int | None = None
    name: str | None = None
    port: int | None = None
    socket: str | None = None


def serve(wanted: Wanted, how: Reach, *, raw: bool = False) -> int:
    """Greet, relay until the agent's stream ends, return the exit code."""
    try:
        door = find(wanted, how)
        link = None if raw else reach.enter(door, how)
    except LiveheapError as error:
        _greet(failure(error))
        return exit_code(error)
    if link is None:
        _greet(raw_greeting(door))
        relay(door.transport.detach(), b"")
    else:
        _greet({**greeting(link.agreed, wanted.pid), "told": told_of(how.environ)})
        relay(link.transport.detach(), link.trailing)
    return 0


def list_workers(environ: Mapping[str, str]) -> int:
    """Greet with the list of this machine's workers."""
    with roster.calling(environ) as roll:
        found = roster.local(environ, roll)
    _greet({"bridge": BRIDGE_VERSION, "workers": found})
    return 0


def find(wanted: Wanted, how: Reach) -> Door:
    """Connect to the worker that is wanted."""
    if wanted.port is not None:
        return reach.knock_at_port("127.0.0.1", wanted.port, how)
    if wanted.socket is not None:
        return reach.knock_at(wanted.socket, how)
    found = workers.local(how.environ)
    if wanted.pid is not None:
        return reach.knock(workers.by_pid(found, wanted.pid), how)
    if wanted.name is not None:
        return reach.knock(workers.by_name(found, wanted.name), how)
    return reach.knock(workers.only(found), how)


def greeting(agreed: Agreed, pid: int | None = None) -> dict[str, Any]:
    """Return the line that says who answers.

    `pid`: which process was asked for and found; in a container it has another number.
    """
    return {
        **({} if pid is None else {"pid": pid}),
        "bridge": BRIDGE_VERSION,
        "ident": agreed.ident,
        "scope": int(agreed.scope),
        "version": agreed.version,
        "session": agreed.session_id.hex(),
    }


def raw_greeting(door: Door) -> dict[str, Any]:
    """Return the line that says who was found, for a handshake at the other end."""
    return {
        "bridge": BRIDGE_VERSION,
        "raw": True,
        **({} if door.pid is None else {"pid": door.pid}),
        "expect_pid": door.expected.pid,
        "expect_start": door.expected.start_time,
    }


def failure(error: LiveheapError) -> dict[str, Any]:
    """Return the line that says why there is no session."""
    code = next((code for kind, code in _CODES if isinstance(error, kind)), "failed")
    return {
        "bridge": BRIDGE_VERSION,
        "error": code,
        "code": getattr(error, "code", None),
        "message": str(error),
        "hint": error.hint,
    }


@dataclass(slots=True)
class _Way:
    """One direction: bytes read from one descriptor, owed to another."""

    source: int
    sink: int
    owed: bytearray = field(default_factory=bytearray)
    ended: bool = False

    def events(self, wanted: dict[int, int]) -> None:
        if self.owed:
            wanted[self.sink] = wanted.get(self.sink, 0) | select.POLLOUT
        elif not self.ended:
            wanted[self.source] = wanted.get(self.source, 0) | select.POLLIN

    def move(self, ready: Mapping[int, int]) -> None:
        if not self.owed and not self.ended and self.source in ready:
            try:
                data = os.read(self.source, BUFFER_BYTES)
            except BlockingIOError:
                return
            self.ended = not data
            self.owed += data
        if self.owed:
            try:
                del self.owed[: os.write(self.sink, self.owed)]
            except BlockingIOError:
                return


def relay(
    connected: socket.socket,
    trailing: bytes,
    *,
    stdin: int = _STDIN,
    stdout: int = _STDOUT,
) -> None:
    """Move bytes both ways until the agent's stream ends or the client is gone."""
    agent = connected.fileno()
    out, back = _Way(stdin, agent), _Way(agent, stdout, bytearray(trailing))
    for descriptor in (stdin, stdout, agent):
        os.set_blocking(descriptor, False)
    half_closed = False
    try:
        while not (back.ended and not back.owed):
            if out.ended and not out.owed and not half_closed:
                connected.shutdown(socket.SHUT_WR)
                half_closed = True
            wanted = {stdout: 0}
            out.events(wanted)
            back.events(wanted)
            ready = _wait(wanted, half_closed)
            if not ready or ready.get(stdout, 0) & select.POLLERR:
                return
            out.move(ready)
            back.move(ready)
    except (BrokenPipeError, ConnectionError):
        return
    finally:
        connected.close()


def _wait(wanted: Mapping[int, int], half_closed: bool) -> dict[int, int]:
    """Return what is ready; after a half close, nothing once the agent is silent."""
    poll = select.poll()
    for descriptor, events in wanted.items():
        poll.register(descriptor, events)
    return dict(poll.poll(_LINGER_S * 1000 if half_closed else None))


def _greet(fields: Mapping[str, Any]) -> None:
    unsent = memoryview(MAGIC + json.dumps(fields).encode() + b"\n")
    try:
        while unsent:
            unsent = unsent[os.write(_STDOUT, unsent) :]
    except BrokenPipeError:
        return
