"""A client's raw socket: waits in the kernel, off the GIL, one system call at a time.

Beside CPU-bound code every release of the GIL costs up to 5 ms to get it back, so a
wait is the call itself, on a blocking socket with the kernel's own timeouts, and not a
poll before it. Whoever must not wait says so for the one call. `hang_up` from any
thread ends every wait here.

The kernel's timeouts bound one wait. A client that takes a little just before each of
them is bounded by its pace: the time that sending had to wait for it, in all, against
what it took.
"""

from __future__ import annotations

import _socket
import math
import struct
import time
from collections.abc import Callable
from contextlib import suppress

from liveheap.agent.descriptor import OwnSocket

RECEIVE_BYTES = 64 * 1024
SEND_BYTES = 256 * 1024
STALL_S = 60
LOOK_EVERY_S = 1
SLOWEST_BYTES_PER_S = 16 * 1024
TIMEVAL = struct.Struct("ll")


def do_nothing() -> None:
    """What there is to do while a client is slow, usually."""


class PeerGone(Exception):
    """The client closed, vanished, stopped reading, or said nothing for hours."""


class Stream:
    """One client's socket."""

    def __init__(self, sock: _socket.socket, *, idle_s: float) -> None:
        sock.setblocking(True)
        for option, seconds in (
            (_socket.SO_RCVTIMEO, math.ceil(idle_s)),
            (_socket.SO_SNDTIMEO, LOOK_EVERY_S),
        ):
            sock.setsockopt(_socket.SOL_SOCKET, option, TIMEVAL.pack(seconds, 0))
        self._socket = OwnSocket(sock)
        self._waited_s = 0.0
        self.sent = 0
        self.while_stalled: Callable[[], object] = do_nothing

    def fileno(self) -> int:
        """Return the descriptor, -1 when closed."""
        return self._socket.fileno()

    def receive(self) -> bytes:
        """Wait for bytes of the peer.

        Raises:
            PeerGone: the peer closed, broke the connection, or is silent for `idle_s`.
        """
        data = self._receive(RECEIVE_BYTES, 0)
        if data is None:
            raise PeerGone("idle for too long")
        return data

    def receive_at_once(self, limit: int = RECEIVE_BYTES) -> bytes | None:
        """Return what is there; None if nothing is.

        Raises:
            PeerGone: the peer closed or broke the connection.
        """
        return self._receive(limit, _socket.MSG_DONTWAIT)

    def send(self, data: bytes) -> None:
        """Send all.

        Raises:
            PeerGone: the peer is gone, takes nothing for STALL_S, or in the long run
                less than SLOWEST_BYTES_PER_S.
        """
        view, stalled_s = memoryview(data), 0.0
        while view:
            began = time.monotonic()
            count = self._send(view[:SEND_BYTES], 0)
            took = time.monotonic() - began
            self._waited_s += took
            stalled_s = 0.0 if count else stalled_s + took
            if stalled_s > STALL_S:
                raise PeerGone(f"read nothing for {STALL_S} s")
            if not count:
                self.while_stalled()
            if self._waited_s > STALL_S + self.sent / SLOWEST_BYTES_PER_S:
                raise PeerGone(
                    f"read too slowly: {self.sent} bytes in {self._waited_s:.0f} s"
                )
            view = view[count:]

    def send_at_once(self, data: bytes) -> int:
        """Send what fits right now; return how much that was.

        Raises:
            PeerGone: the peer is gone.
        """
        return self._send(data, _socket.MSG_DONTWAIT)

    def hang_up(self) -> None:
        """End the conversation for both sides; a waiting thread notices."""
        with suppress(OSError):
            self._socket.socket.shutdown(_socket.SHUT_RDWR)

    def close(self) -> None:
        """Close this process's descriptor. In a forked child it ends nothing."""
        with suppress(OSError):
            self._socket.close()

    def _receive(self, limit: int, flags: int) -> bytes | None:
        try:
            data = self._socket.socket.recv(limit, flags)
        except BlockingIOError:
            return None
        except OSError as exc:
            raise PeerGone(str(exc)) from exc
        if not data:
            raise PeerGone("closed by the client")
        return data

    def _send(self, data: bytes | memoryview, flags: int) -> int:
        try:
            count = self._socket.socket.send(data, flags)
        except BlockingIOError:
            return 0
        except OSError as exc:
            raise PeerGone(str(exc)) from exc
        self.sent += count
        return count


class Bell:
    """Rings in a poll of another thread: a socket pair, so nothing of `os` is used."""

    def __init__(self) -> None:
        near, far = _socket.socketpair()
        near.setblocking(False)
        far.setblocking(False)
        self._near, self._far = OwnSocket(near), OwnSocket(far)

    @property
    def is_ours(self) -> bool:
        """Whether both ends are still there."""
        return self._near.is_ours and self._far.is_ours

    def fileno(self) -> int:
        """Return the descriptor to poll for POLLIN."""
        return self._near.fileno()

    def ring(self) -> None:
        """Wake whoever polls; a bell that rings already is enough."""
        with suppress(OSError):
            self._far.socket.send(b"!")

    def quiet(self) -> None:
        """Take the rings.

        Raises:
            SocketLost: the worker has closed the bell.
        """
        with suppress(BlockingIOError):
            self._near.socket.recv(4096)

    def close(self) -> None:
        """Close both ends."""
        self._near.close()
        self._far.close()
