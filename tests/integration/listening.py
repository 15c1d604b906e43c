"""A client that keeps every byte it was sent, and a search for a word in them."""

from __future__ import annotations

from pathlib import Path

from contract.minimal_client import MinimalClient, connect, raw_of

from liveheap.protocol import connection as protocol
from liveheap.protocol.auth import Scope
from liveheap.protocol.messages import Chunk


class Listening(MinimalClient):
    """A client that keeps every byte it was sent, chunks unpacked."""

    def __init__(self, path: Path, scope: Scope = Scope.GRAPH) -> None:
        self.inner = connect(path, scope=scope)
        super().__init__(self.inner.socket, self.inner.agreed)
        self.heard = bytearray()

    def next_message(self):
        while True:
            event = self.connection.next_event()
            if event is protocol.CLOSED:
                raise AssertionError("the agent closed")
            if event is not protocol.NEED_DATA:
                if isinstance(event, Chunk):
                    self.heard += raw_of(event)
                return event
            data = self.socket.recv(1 << 16)
            self.heard += data
            self.connection.receive_data(data)


def around(word: bytes, heard: bytes) -> list[bytes]:
    """Return every place of the word with what stands beside it."""
    found, at = [], heard.find(word)
    while at >= 0 and len(found) < 10:
        found.append(heard[max(0, at - 40) : at + 40])
        at = heard.find(word, at + 1)
    return found
