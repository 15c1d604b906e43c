"""The conversation after the handshake: frames in, messages out, and the reverse.

Sans-IO and for both ends: the role is a value given at construction. Bytes of the
peer go into `receive_data`, messages come out of `next_event`; `send` turns a message
into bytes, which the caller writes in that order. Socket, clock and threads are the
caller's. Not safe for two threads at once.

NEXT is everything that may change the state of a request; the direction of each kind
stands in messages.KINDS. A request id is IDLE until a request takes it and again after
its result or failure. A `cancel` may cross the answer it wanted to prevent, so one for
an idle id is no fault: the agent's end drops it. Whatever else the tables do not name
is the fault of whoever sends it.

`next_event` returns a message, NEED_DATA (feed more), or CLOSED (the peer closed
between two frames; also with requests unanswered, which the caller must tell apart by
`in_flight`). Only RemoteProtocolError comes out of it; after one the connection is
FAILED and raises the same again, because a stream that lost its frames cannot be found
again. `send` raises LocalProtocolError and then nothing was sent and nothing changed:
an agent may send a Failure in place of what did not fit (MessageTooLarge).
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from liveheap.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from liveheap.protocol import frames
from liveheap.protocol.auth import AgentHandshake, Agreed, ClientHandshake
from liveheap.protocol.messages import (
    KINDS,
    Cancel,
    Chunk,
    Failure,
    Message,
    MessageType,
    Progress,
    Request,
    Result,
    Role,
    read,
    write,
)

__all__ = [
    "CLOSED",
    "MAX_IN_FLIGHT",
    "NEED_DATA",
    "NEXT",
    "Connection",
    "Event",
    "RequestState",
    "Role",
    "Signal",
    "State",
]

MAX_IN_FLIGHT = 32


class Signal(Enum):
    """What next_event says when it has no message."""

    NEED_DATA = "need data"
    CLOSED = "closed"


NEED_DATA: Final = Signal.NEED_DATA
CLOSED: Final = Signal.CLOSED
Event = Message | Signal


class State(Enum):
    """The connection's own state."""

    OPEN = "open"
    CLOSED = "closed"
    FAILED = "failed"


class RequestState(Enum):
    """Where a request id is in its life."""

    IDLE = "idle"
    RUNNING = "running"
    CANCELLED = "cancelled"


NEXT: dict[RequestState, dict[MessageType, RequestState]] = {
    RequestState.IDLE: {
        Request: RequestState.RUNNING,
        Cancel: RequestState.IDLE,
    },
    RequestState.RUNNING: {
        Cancel: RequestState.CANCELLED,
        Progress: RequestState.RUNNING,
        Chunk: RequestState.RUNNING,
        Result: RequestState.IDLE,
        Failure: RequestState.IDLE,
    },
    RequestState.CANCELLED: {
        Cancel: RequestState.CANCELLED,
        Progress: RequestState.CANCELLED,
        Chunk: RequestState.CANCELLED,
        Result: RequestState.IDLE,
        Failure: RequestState.IDLE,
    },
}


class Connection:
    """One end of an authenticated conversation."""

    def __init__(
        self,
        role: Role,
        *,
        agreed: Agreed | None = None,
        handshake: ClientHandshake | AgentHandshake | None = None,
    ) -> None:
        """Begin after a handshake: this end's own, or one the bridge made."""
        if (agreed is None) == (handshake is None):
            raise LocalProtocolError("either what was agreed, or the handshake")
        trailing = b""
        if handshake is not None:
            agreed, trailing = handshake.result, handshake.trailing
        assert agreed is not None
        self.role = role
        self.agreed = agreed
        self.state = State.OPEN
        self._buffer = frames.FrameBuffer(trailing)
        self._requests: dict[int, RequestState] = {}
        self._at_end = False
        self._fault = ""
        self._client_limits = frames.CLIENT_FIRST

    def __repr__(self) -> str:
        return (
            f"<Connection as {self.role.value}, {self.state.value}, "
            f"{len(self._requests)} in flight>"
        )

    @property
    def in_flight(self) -> tuple[int, ...]:
        """The ids of requests without their answer, oldest first."""
        return tuple(self._requests)

    def receive_data(self, data: bytes | memoryview) -> None:
        """Take bytes of the peer; none at all mean that it closed."""
        if self._at_end and data:
            raise LocalProtocolError("bytes after the end of the stream")
        self._at_end = not data
        if self.state is not State.FAILED:
            self._buffer.feed(data)

    def next_event(self) -> Event:
        """The next message of the peer, NEED_DATA, or CLOSED."""
        if self.state is State.FAILED:
            raise RemoteProtocolError(self._fault)
        try:
            return self._next_event()
        except RemoteProtocolError as exc:
            self.state = State.FAILED
            self._fault = exc.message
            self._buffer = frames.FrameBuffer()
            raise

    def send(self, message: Message) -> bytes:
        """The bytes to write for a message."""
        if self.state is not State.OPEN:
            raise LocalProtocolError(f"the connection is {self.state.value}")
        state = self._after(message, self.role, LocalProtocolError)
        data = frames.encode(write(message), self._limits(self.role))
        self._enter(message, state)
        return data

    def _next_event(self) -> Event:
        while True:
            wire = self._buffer.next_frame(self._limits(self.role.peer))
            if wire is None:
                return self._without_a_frame()
            message = read(wire)
            state = self._after(message, self.role.peer, RemoteProtocolError)
            came_too_late = type(message) is Cancel and message.id not in self._requests
            self._enter(message, state)
            if not came_too_late:
                return message

    def _without_a_frame(self) -> Signal:
        if not self._at_end:
            return NEED_DATA
        if len(self._buffer):
            raise RemoteProtocolError("the stream ended in the middle of a frame")
        self.state = State.CLOSED
        return CLOSED

    def _limits(self, sender: Role) -> frames.Limits:
        return self._client_limits if sender is Role.CLIENT else frames.AGENT

    def _after(
        self, message: Message, sender: Role, culprit: type[ProtocolError]
    ) -> RequestState:
        """The request's state after this message, if the tables allow it."""
        kind = KINDS.get(type(message))
        if kind is None:
            raise culprit(f"not a message: {type(message).__name__}")
        if kind.sender is not sender:
            raise culprit(f"a {sender.value} never sends a {kind.word}")
        state = self._requests.get(message.id, RequestState.IDLE)
        following = NEXT[state].get(type(message))
        if following is None:
            raise culprit(
                f"a {kind.word} for request {message.id}, which is {state.value}"
            )
        if type(message) is Request and len(self._requests) >= MAX_IN_FLIGHT:
            raise culprit(f"more than {MAX_IN_FLIGHT} requests in flight")
        return following

    def _enter(self, message: Message, state: RequestState) -> None:
        if state is RequestState.IDLE:
            self._requests.pop(message.id, None)
        else:
            self._requests[message.id] = state
        if type(message) is Request:
            self._client_limits = frames.CLIENT
