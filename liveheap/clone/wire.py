"""The messages between agent and copy: a length, then msgpack of [kind, content].

Either side may be the victim of the other: whoever has scope exec writes what he likes
into the copy's socket. So lengths are bounded here too, and a message that is none ends
the copy and not the agent.
"""

from __future__ import annotations

import struct
from typing import Any

from liveheap.protocol.packing import packb, unpackb

HEAD = struct.Struct("<I")
LARGEST = 4 << 20

ASK, COMPLETE, FACTS = "ask", "complete", "facts"
READY, TEXT, NOTE, DONE = "ready", "text", "note", "done"


class Garbled(Exception):
    """What came is no message."""


def pack(kind: str, content: Any) -> bytes:
    """Return a message as bytes."""
    body: bytes = packb([kind, content])
    if len(body) > LARGEST:
        raise Garbled(f"a message of {len(body)} bytes")
    return HEAD.pack(len(body)) + body


class Inbox:
    """What has come so far, and the messages in it."""

    def __init__(self) -> None:
        self._data = bytearray()

    def put(self, data: bytes) -> None:
        """Add what was received."""
        self._data += data

    def take(self) -> tuple[str, Any] | None:
        """Return the next whole message, if there is one.

        Raises:
            Garbled: there never will be.
        """
        if len(self._data) < HEAD.size:
            return None
        (length,) = HEAD.unpack_from(self._data)
        if length > LARGEST:
            raise Garbled(f"a message of {length} bytes")
        end = HEAD.size + length
        if len(self._data) < end:
            return None
        body = bytes(self._data[HEAD.size : end])
        del self._data[:end]
        try:
            kind, content = unpackb(body)
        except Exception as exc:
            raise Garbled("no message") from exc
        if not isinstance(kind, str):
            raise Garbled("a message without a kind")
        return kind, content
