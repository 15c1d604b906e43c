"""An agent without a heap at the other end of a memory transport.

It speaks the real protocol over the real Connection, and answers by a script: a
function for each command, from the request to the messages to send. What it has
received stands in `received`.
"""

import threading
from collections.abc import Callable, Iterable
from types import TracebackType

from liveheap.protocol.auth import Agreed, Scope
from liveheap.protocol.connection import CLOSED, NEED_DATA, Connection, Role
from liveheap.protocol.messages import Cancel, Failure, Message, Request
from liveheap_client.errors import TransportError
from liveheap_client.transport.memory import MemoryTransport, pair

Answer = Callable[[Request], Iterable[Message]]
AGREED = Agreed(
    scope=Scope.GRAPH, version=1, ident="web-3:4711:918273:1", session_id=b"\1" * 8
)


class FakeAgent:
    """A context manager; `transport` is the client's end."""

    def __init__(self, **answers: Answer) -> None:
        self.transport, self._own = pair()
        self._answers = answers
        self._thread = threading.Thread(target=self._serve)
        self.received: list[Message] = []
        self.cancelled = threading.Event()

    def __enter__(self) -> "FakeAgent":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.transport.close()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def answer(self, command: str, how: Answer) -> None:
        """Set how a command is answered, for answers that need the agent itself."""
        self._answers[command] = how

    @property
    def end(self) -> MemoryTransport:
        """The agent's own end, for tests that send what no Connection would."""
        return self._own

    def _serve(self) -> None:
        connection = Connection(Role.AGENT, agreed=AGREED)
        while True:
            event = connection.next_event()
            if event is CLOSED:
                return
            if event is NEED_DATA:
                connection.receive_data(self._own.receive(timeout=60))
                continue
            assert isinstance(event, Request | Cancel)
            self.received.append(event)
            if isinstance(event, Cancel):
                self.cancelled.set()
                self._send(connection, Failure(event.id, "cancelled", "cancelled"))
            else:
                for message in self._answers[event.command](event):
                    self._send(connection, message)

    def _send(self, connection: Connection, message: Message) -> None:
        data = connection.send(message)
        try:
            self._own.send(data)
        except TransportError:
            return
