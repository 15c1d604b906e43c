"""Two ends of a stream within one process, for tests. Ships beside the real ones."""

import queue

from liveheap_client.errors import ConnectionLost, TimedOut
from liveheap_client.transport.base import Transport

_END = b""


class MemoryTransport(Transport):
    """One end; what it sends, the other receives in the same pieces."""

    def __init__(self, inbox: "queue.Queue[bytes]", outbox: "queue.Queue[bytes]"):
        self._inbox = inbox
        self._outbox = outbox
        self._received_end = False
        self._sent_end = False

    def send(self, data: bytes) -> None:
        if self._sent_end or self._received_end:
            raise self.why_ended()
        if data:
            self._outbox.put(bytes(data))

    def receive(self, *, timeout: float) -> bytes:
        if self._received_end:
            return _END
        try:
            data = self._inbox.get(timeout=timeout)
        except queue.Empty as exc:
            raise TimedOut("the other end does not answer") from exc
        self._received_end = data == _END
        return data

    def end_sending(self) -> None:
        if not self._sent_end:
            self._sent_end = True
            self._outbox.put(_END)

    def why_ended(self) -> Exception:
        return ConnectionLost("the other end closed the connection")

    def close(self) -> None:
        self.end_sending()


def pair() -> tuple[MemoryTransport, MemoryTransport]:
    """Return two connected ends."""
    there: queue.Queue[bytes] = queue.Queue()
    back: queue.Queue[bytes] = queue.Queue()
    return MemoryTransport(there, back), MemoryTransport(back, there)
