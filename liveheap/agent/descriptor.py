"""A socket of ours, told from whatever has its number later.

A worker may close every descriptor it has (a daemon does, `os.closerange` is all it
takes), and the kernel gives the numbers to the next files that are opened. An agent
that goes on by number would then accept another's clients, read another's bytes and
close another's files. So each socket is remembered by what the kernel calls it, and
asked for before it is used; one that is no longer there is forgotten, not closed.

The question must not let go of the interpreter's lock: beside CPU-bound code getting
it back takes 5 ms, and a thread that ran meanwhile might exchange the descriptor.
`getsockopt` keeps the lock, and SO_COOKIE is never given out twice.
"""

from __future__ import annotations

import _socket
import os

SO_COOKIE = 57
COOKIE_BYTES = 8


class SocketLost(OSError):
    """The descriptor was closed by somebody else, and may be another file by now."""


class OwnSocket:
    """A socket, and the way to know that it still is the same."""

    __slots__ = ("_name", "_socket")

    def __init__(self, sock: _socket.socket) -> None:
        self._socket = sock
        self._name = name_of(sock)

    @property
    def is_ours(self) -> bool:
        """Whether the descriptor still is this socket; False if it is closed."""
        try:
            return name_of(self._socket) == self._name
        except OSError:
            return False

    @property
    def socket(self) -> _socket.socket:
        """The socket, to be used at once.

        Raises:
            SocketLost: it is not there any more.
        """
        if not self.is_ours:
            raise SocketLost("the worker has closed the agent's socket")
        return self._socket

    def fileno(self) -> int:
        """Return the number, -1 when closed."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close it; if the number is another's by now, only forget it."""
        if self._socket.fileno() < 0:
            return
        if self.is_ours:
            self._socket.close()
        else:
            self._socket.detach()


def name_of(sock: _socket.socket) -> bytes | tuple[int, int]:
    """Return what no other socket of this machine's life is called."""
    try:
        return sock.getsockopt(_socket.SOL_SOCKET, SO_COOKIE, COOKIE_BYTES)
    except OSError:
        status = os.fstat(sock.fileno())
        return status.st_dev, status.st_ino
