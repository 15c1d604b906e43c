"""The seam between a session and the bytes: five methods.

A transport knows no message. It is used by one thread. Whatever goes wrong comes out
as a TransportError; no exception of a socket or a subprocess passes this line.
"""

import abc


class Transport(abc.ABC):
    """An ordered stream of bytes to an agent or to a bridge."""

    @abc.abstractmethod
    def send(self, data: bytes) -> None:
        """Send all of `data`.

        Raises ConnectionLost if the peer is gone and TimedOut if it takes nothing. No
        guarantee that what was sent has arrived.
        """

    @abc.abstractmethod
    def receive(self, *, timeout: float) -> bytes:
        """Return the next bytes, b"" at the end of the stream.

        Raises TimedOut if nothing came within `timeout` seconds; the stream stays
        usable then.
        """

    @abc.abstractmethod
    def end_sending(self) -> None:
        """Tell the peer that no more bytes come; receiving goes on. Never raises."""

    @abc.abstractmethod
    def why_ended(self) -> Exception:
        """Return the error that explains the end of the stream. Call after b""."""

    @abc.abstractmethod
    def close(self) -> None:
        """Release everything. Never raises, may be called twice."""
