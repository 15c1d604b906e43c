"""The least client there can be: a blocking socket and `liveheap.protocol`.

For tests of the agent, which must not lean on the client they do not test.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from liveheap.protocol.auth import Agreed, ClientHandshake, Scope
from liveheap.protocol.connection import CLOSED, NEED_DATA, Connection
from liveheap.protocol.messages import (
    CODEC_STORED,
    Cancel,
    Chunk,
    Failure,
    Message,
    Progress,
    Request,
    Result,
    Role,
)

DEADLINE_S = 60.0


class Gone(Exception):
    """The agent closed the connection."""


class MinimalClient:
    """One session over a connected socket."""

    def __init__(self, sock: socket.socket, agreed: Agreed) -> None:
        sock.settimeout(DEADLINE_S)
        self.socket = sock
        self.agreed = agreed
        self.connection = Connection(Role.CLIENT, agreed=agreed)
        self.last_id = 0

    def __enter__(self) -> MinimalClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def ask(self, command: str, **args: Any) -> int:
        """Send a request; return its id."""
        self.last_id += 1
        self.send(Request(self.last_id, command, args))
        return self.last_id

    def cancel(self, request: int) -> None:
        self.send(Cancel(request))

    def send(self, message: Message) -> None:
        self.socket.sendall(self.connection.send(message))

    def next_message(self) -> Message:
        """Wait for one message; Gone if the agent closes."""
        while True:
            event = self.connection.next_event()
            if event is CLOSED:
                raise Gone
            if event is not NEED_DATA:
                return event  # type: ignore[return-value]
            try:
                data = self.socket.recv(1 << 16)
            except ConnectionError:
                data = b""
            self.connection.receive_data(data)

    def answers(self, request: int) -> Iterator[Message]:
        """Yield the messages of one request, its end included."""
        while True:
            message = self.next_message()
            if message.id == request:
                yield message
                if isinstance(message, (Result, Failure)):
                    return

    def request(self, command: str, **args: Any) -> Any:
        """Ask, and return the shape; CommandError if there is none."""
        last = list(self.answers(self.ask(command, **args)))[-1]
        if isinstance(last, Failure):
            raise last.to_error()
        assert isinstance(last, Result)
        return last.shape

    def stream(
        self, command: str, **args: Any
    ) -> tuple[list[Progress], list[Chunk], Any]:
        """Ask, and return progress, chunks and shape."""
        messages = list(self.answers(self.ask(command, **args)))
        last = messages[-1]
        if isinstance(last, Failure):
            raise last.to_error()
        assert isinstance(last, Result)
        return (
            [each for each in messages if isinstance(each, Progress)],
            [each for each in messages if isinstance(each, Chunk)],
            last.shape,
        )


def raw_of(chunk: Chunk) -> bytes:
    """Return what a chunk holds: packed, or as it is where the link is fast."""
    import zstandard

    is_packed = chunk.codec != CODEC_STORED
    return bytes(zstandard.decompress(chunk.data) if is_packed else chunk.data)


def shake_hands(
    sock: socket.socket, token: bytes, scope: Scope = Scope.GRAPH
) -> Agreed:
    """Do the client's half of the handshake on a blocking socket."""
    handshake = ClientHandshake(token, scope)
    while True:
        data = handshake.data_to_send()
        if data:
            sock.sendall(data)
        if handshake.done:
            return handshake.result
        try:
            received = sock.recv(handshake.wanted)
        except ConnectionError:
            received = b""
        handshake.receive(received)


def connect(
    path: Path | str, token: bytes | None = None, scope: Scope = Scope.GRAPH
) -> MinimalClient:
    """Open a session over a Unix socket; the token is the file beside it."""
    if token is None:
        token = Path(path).with_name("token").read_bytes()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(DEADLINE_S)
    try:
        sock.connect(str(path))
        return MinimalClient(sock, shake_hands(sock, token, scope))
    except BaseException:
        sock.close()
        raise
