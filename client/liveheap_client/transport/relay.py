"""The bridge's last part: a word on who answers, then bytes both ways, unread.

Also half of what is sent to a machine without liveheap (sending.py), so it is written
for Python 3.6, with its standard library alone, and with quoted annotations.

What an agent sends is a snapshot, mostly, and sshd takes it from a pipe. From 3.10 on
the kernel can move it from socket to pipe, so that this process neither copies nor
holds it. A place in a pipe then has four times as much as its size says: so a pipe of
a quarter of AHEAD_BYTES is what lets an agent work on while ssh is busy.
"""

import errno
import fcntl
import json
import os
import select
import socket

MAGIC = b"\x93LHEAP\r\n"
BRIDGE_VERSION = 1
BUFFER_BYTES = 1 << 18
AHEAD_BYTES = 1 << 20
LINGER_S = 60.0
PIPE_BYTES = AHEAD_BYTES >> 2
F_SETPIPE_SZ = 1031

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any  # and not for real: it takes as long as all the rest


def greet(fields: "dict[str, Any]", stdout: int = 1) -> None:
    """Say who answers, or why nobody does: the magic and one line of JSON."""
    unsent = memoryview(MAGIC + json.dumps(fields).encode() + b"\n")
    try:
        while unsent:
            unsent = unsent[os.write(stdout, unsent) :]
    except BrokenPipeError:
        return


class Way:
    """One direction: bytes read from one descriptor, owed to another."""

    def __init__(self, source: int, sink: int, owed: bytes = b"") -> None:
        self.source = source
        self.sink = sink
        self.owed = bytearray(owed)
        self.ended = False

    def events(self, wanted: "dict[int, int]") -> None:
        if self.owed:
            wanted[self.sink] = wanted.get(self.sink, 0) | select.POLLOUT
        if self.may_read:
            wanted[self.source] = wanted.get(self.source, 0) | select.POLLIN

    @property
    def may_read(self) -> bool:
        """Some is read ahead, so that an agent packs on while ssh is busy."""
        return not self.ended and len(self.owed) < AHEAD_BYTES

    def move(self, ready: "dict[int, int]") -> None:
        if self.may_read and ready.get(self.source, 0) & ~select.POLLOUT:
            try:
                data = os.read(self.source, BUFFER_BYTES)
            except BlockingIOError:
                data = None
            self.ended = data == b""
            self.owed += data or b""
        if self.owed:
            try:
                del self.owed[: os.write(self.sink, self.owed)]
            except BlockingIOError:
                return


class Splice(Way):
    """From a socket into a pipe by the kernel's own hands, where it can.

    One of both is waited for: the source, and after it had bytes that did not fit, the
    sink. What is owed already goes first.
    """

    def __init__(self, source: int, sink: int, owed: bytes = b"") -> None:
        super().__init__(source, sink, owed)
        self.can = True
        self.is_full = False

    def events(self, wanted: "dict[int, int]") -> None:
        if self.owed or not self.can:
            super().events(wanted)
        elif self.is_full:
            wanted[self.sink] = wanted.get(self.sink, 0) | select.POLLOUT
        elif not self.ended:
            wanted[self.source] = wanted.get(self.source, 0) | select.POLLIN

    def move(self, ready: "dict[int, int]") -> None:
        if self.owed or not self.can:
            super().move(ready)
        elif ready.get(self.sink if self.is_full else self.source, 0):
            try:
                self.ended = not splice(self.source, self.sink)
                self.is_full = False
            except BlockingIOError:
                self.is_full = not self.is_full
            except OSError as exc:
                if exc.errno not in (errno.EINVAL, errno.ENOSYS, errno.EPERM):
                    raise
                self.can = False


def splice(source: int, sink: int) -> int:
    """Have the kernel move what it can at once; return how much that was."""
    try:
        return os.splice(source, sink, AHEAD_BYTES, flags=os.SPLICE_F_NONBLOCK)
    except AttributeError:  # before Python 3.10
        raise OSError(errno.ENOSYS, "no splice") from None


def widen(pipe: int, size: int) -> bool:
    """Give a pipe more room; false if it is none, or may not have that."""
    try:
        return fcntl.fcntl(pipe, F_SETPIPE_SZ, size) >= size
    except OSError:
        return False


def relay(
    connected: socket.socket,
    trailing: bytes,
    *,
    stdin: int = 0,
    stdout: int = 1,
    idle_s: "float | None" = None,
) -> None:
    """Move bytes both ways until the agent's stream ends or the client is gone.

    With `idle_s` also until nothing has moved for so long.
    """
    agent = connected.fileno()
    out = Way(stdin, agent)
    back = (Splice if widen(stdout, PIPE_BYTES) else Way)(agent, stdout, trailing)
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
            ready = _wait(wanted, LINGER_S if half_closed else idle_s)
            if not ready or ready.get(stdout, 0) & select.POLLERR:
                return
            out.move(ready)
            back.move(ready)
    except (BrokenPipeError, ConnectionError):
        return
    finally:
        connected.close()


def _wait(wanted: "dict[int, int]", seconds: "float | None") -> "dict[int, int]":
    """Return what is ready; nothing if all are silent for so long."""
    poll = select.poll()
    for descriptor, events in wanted.items():
        poll.register(descriptor, events)
    return dict(poll.poll(None if seconds is None else seconds * 1000))
