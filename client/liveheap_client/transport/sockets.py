"""Streams over a connected socket: what the Unix and the TCP transport share."""

import socket
from typing import NoReturn

from liveheap_client.errors import ConnectionLost, TimedOut
from liveheap_client.transport.base import Transport

RECEIVE_BYTES = 1 << 18
SEND_TIMEOUT_S = 30.0


class SocketTransport(Transport):
    """A stream over a socket that somebody has connected."""

    def __init__(self, connected: socket.socket, *, peer: str) -> None:
        self._socket = connected
        self._peer = peer

    def send(self, data: bytes) -> None:
        try:
            self._socket.settimeout(SEND_TIMEOUT_S)
            self._socket.sendall(data)
        except OSError as exc:
            self._translate(exc)

    def receive(self, *, timeout: float) -> bytes:
        try:
            self._socket.settimeout(max(timeout, 0.001))
            return self._socket.recv(RECEIVE_BYTES)
        except ConnectionResetError:
            return b""
        except OSError as exc:
            self._translate(exc)

    def end_sending(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def why_ended(self) -> Exception:
        return ConnectionLost(
            f"{self._peer} closed the connection",
            hint="the worker ended or its agent was stopped: liveheap ps",
        )

    def close(self) -> None:
        self._socket.close()

    def detach(self) -> socket.socket:
        """Hand over the socket, for a caller that relays and reads nothing."""
        return self._socket

    def _translate(self, exc: OSError) -> NoReturn:
        if isinstance(exc, TimeoutError):
            raise TimedOut(f"{self._peer} does not answer") from exc
        if isinstance(exc, BrokenPipeError | ConnectionError):
            raise self.why_ended() from exc
        raise ConnectionLost(f"{self._peer}: {exc.strerror or exc}") from exc
