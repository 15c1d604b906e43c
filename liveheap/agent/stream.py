"""A connected raw socket with deadlines, and a bell that ends every wait.

Every wait of the agent is one `poll` in C, off the GIL. A session's thread waits for
its client here and nowhere else; so ending the client's socket (`hang_up`) from any
thread is enough to end the session.
"""

from __future__ import annotations

import _socket
import select
from contextlib import suppress
from typing import Any

from liveheap.agent.native import Native

RECEIVE_BYTES = 64 * 1024
SEND_BYTES = 256 * 1024


class PeerGone(Exception):
    """The client closed, vanished, or stopped reading for too long."""


class Stream:
    """One client's socket."""

    def __init__(self, sock: _socket.socket, native: Native) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._poll = native.poll()
        self.sent = 0

    def fileno(self) -> int:
        """Return the descriptor, -1 when closed."""
        return self._socket.fileno()

    def wait(self, timeout: float | None) -> bool:
        """Wait until there is something to receive, or the peer is gone."""
        return self._ready(select.POLLIN, timeout)

    def receive(self, limit: int = RECEIVE_BYTES) -> bytes | None:
        """Return what is there; None if nothing is.

        Raises:
            PeerGone: the peer closed or broke the connection.
        """
        try:
            data = self._socket.recv(limit)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as exc:
            raise PeerGone(str(exc)) from exc
        if not data:
            raise PeerGone("closed by the client")
        return data

    def send(self, data: bytes, *, stall_s: float) -> None:
        """Send all; give up when the peer takes nothing for `stall_s` seconds.

        Raises:
            PeerGone: the peer is gone or does not read.
        """
        view = memoryview(data)
        while view:
            try:
                count = self._socket.send(view[:SEND_BYTES])
            except (BlockingIOError, InterruptedError):
                if not self._ready(select.POLLOUT, stall_s):
                    raise PeerGone(f"read nothing for {stall_s:.0f} s") from None
                continue
            except OSError as exc:
                raise PeerGone(str(exc)) from exc
            self.sent += count
            view = view[count:]

    def send_some(self, data: bytes) -> int:
        """Send what fits right now; return how much that was.

        Raises:
            PeerGone: the peer is gone.
        """
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as exc:
            raise PeerGone(str(exc)) from exc

    def hang_up(self) -> None:
        """End the conversation for both sides; any waiting thread notices."""
        try:
            self._socket.shutdown(_socket.SHUT_RDWR)
        except OSError:
            return

    def close(self) -> None:
        """Close this process's descriptor. In a forked child it ends nothing."""
        try:
            self._socket.close()
        except OSError:
            return

    def _ready(self, events: int, timeout: float | None) -> bool:
        if self._socket.fileno() < 0:
            raise PeerGone("closed")
        self._poll.register(self._socket.fileno(), events)
        try:
            ready: list[Any] = self._poll.poll(
                None if timeout is None else max(0, round(timeout * 1000))
            )
        finally:
            with suppress(KeyError, ValueError):
                self._poll.unregister(self._socket.fileno())
        return bool(ready)


class Bell:
    """Rings in a poll of another thread: a socket pair, so nothing of `os` is used."""

    def __init__(self) -> None:
        self._near, self._far = _socket.socketpair()
        self._near.setblocking(False)
        self._far.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor to poll for POLLIN."""
        return self._near.fileno()

    def ring(self) -> None:
        """Wake whoever polls; a bell that rings already is enough."""
        try:
            self._far.send(b"!")
        except OSError:
            return

    def quiet(self) -> None:
        """Take the rings."""
        try:
            self._near.recv(4096)
        except OSError:
            return

    def close(self) -> None:
        """Close both ends."""
        self._near.close()
        self._far.close()
