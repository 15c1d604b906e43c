"""Frames: a 4-byte length, then one msgpack map with text keys.

The first room a stranger's bytes enter, so everything here is bounded before anything
is allocated. A length above the limit is refused as soon as its four bytes are there.
A body is walked once by a table-driven scanner which builds nothing and counts items,
depth and text lengths; msgpack sees only what passed. (Its own limits do not suffice:
C unpackers allocate an announced array before its items exist, so nested
announcements in a small frame ask for gigabytes, and they know no depth of ours.)

Refused besides: extension types, floats that are not finite (JSON has no word for
them), text that is not UTF-8, keys that are not text, keys given twice. Integers end
at 64 bits by nature. The sending side runs the same scanner over what it made, so
nothing leaves that the other end would refuse.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from liveheap.errors import (
    LocalProtocolError,
    MessageTooLarge,
    ProtocolError,
    RemoteProtocolError,
)
from liveheap.protocol import packing

LENGTH_BYTES = 4
CRUMB_BYTES = 4 * 1024
MAX_TEXT = 64 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What one frame of a direction may hold."""

    frame: int
    depth: int
    items: int
    text: int = MAX_TEXT


CLIENT_FIRST = Limits(frame=4 * 1024, depth=8, items=10_000)
CLIENT = Limits(frame=1024 * 1024, depth=8, items=10_000)
AGENT = Limits(frame=4 * 1024 * 1024 + 4 * 1024, depth=64, items=500_000)


def encode(fields: Mapping[str, Any], limits: Limits) -> bytes:
    """A map as a frame; LocalProtocolError if it cannot be one within the limits."""
    try:
        body = packing.packb(fields, unicode_errors="backslashreplace")
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        raise LocalProtocolError(f"this cannot be sent: {exc}") from exc
    if len(body) > limits.frame:
        raise MessageTooLarge(
            f"a message of {len(body)} bytes, at most {limits.frame} fit a frame"
        )
    _Scan(body, limits, LocalProtocolError).run()
    return b"".join((len(body).to_bytes(LENGTH_BYTES, "little"), body))


def decode(body: bytes | bytearray | memoryview, limits: Limits) -> dict[str, Any]:
    """The map in a frame's body; RemoteProtocolError if it is anything else."""
    _Scan(body, limits, RemoteProtocolError).run()
    try:
        fields: dict[str, Any] = packing.unpackb(
            body, object_pairs_hook=_map_without_surprises, strict_map_key=False
        )
    except ValueError as exc:
        raise RemoteProtocolError(f"a frame that is not msgpack: {exc!s:.200}") from exc
    return fields


class FrameBuffer:
    """Bytes in, frame bodies out.

    Holds what the caller fed it and has not taken: feed at most one read at a time,
    then take frames until there is none. What was fed is kept as it came, and copied
    once, when a frame is whole; only crumbs are put together, or each would cost more
    than it holds.
    """

    __slots__ = ("_fed", "_length", "_pieces")

    def __init__(self, data: bytes = b"") -> None:
        self._pieces: deque[bytes | memoryview] = deque()
        self._fed = 0
        self._length: int | None = None
        self.feed(data)

    def __len__(self) -> int:
        return self._fed + (0 if self._length is None else LENGTH_BYTES)

    def feed(self, data: bytes | memoryview) -> None:
        """Take bytes from the stream. They must not change any more."""
        if not data:
            return
        self._fed += len(data)
        if self._pieces and len(self._pieces[-1]) + len(data) <= CRUMB_BYTES:
            data = b"".join((self._pieces.pop(), data))
        self._pieces.append(data)

    def next_frame(self, limits: Limits) -> dict[str, Any] | None:
        """Take the next frame's map; None if more bytes are needed."""
        if self._length is None:
            if self._fed < LENGTH_BYTES:
                return None
            self._length = int.from_bytes(self._take(LENGTH_BYTES), "little")
        if not 0 < self._length <= limits.frame:
            raise RemoteProtocolError(
                f"a frame of {self._length} bytes, expected 1 to {limits.frame}"
            )
        if self._fed < self._length:
            return None
        body, self._length = self._take(self._length), None
        return decode(body, limits)

    def _take(self, length: int) -> bytes | memoryview:
        """Take bytes that are there; a view of them if they came in one piece."""
        self._fed -= length
        parts: list[bytes | memoryview] = []
        while length:
            piece = self._pieces.popleft()
            if len(piece) > length:
                view = memoryview(piece)
                self._pieces.appendleft(view[length:])
                piece = view[:length]
            parts.append(piece)
            length -= len(piece)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _map_without_surprises(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a map; msgpack hands the pairs over before they can shadow each other."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise RemoteProtocolError("a map has a key twice")
    return fields


# What follows a first byte: (what, bytes of its length field, length if there is none)
_SCALAR, _TEXT, _BINARY, _ARRAY, _MAP, _FLOAT, _REFUSED = range(7)


def _what_follows() -> list[tuple[int, int, int]]:
    table = [(_SCALAR, 0, 0)] * 256
    for low in range(16):
        table[0x80 | low] = (_MAP, 0, low)
        table[0x90 | low] = (_ARRAY, 0, low)
    for low in range(32):
        table[0xA0 | low] = (_TEXT, 0, low)
    for first in (0xC1, *range(0xC7, 0xCA), *range(0xD4, 0xD9)):
        table[first] = (_REFUSED, 0, 0)
    for power, width in enumerate((1, 2, 4)):
        table[0xC4 + power] = (_BINARY, width, 0)
        table[0xD9 + power] = (_TEXT, width, 0)
    for power, width in enumerate((4, 8)):
        table[0xCA + power] = (_FLOAT, 0, width)
    for power, width in enumerate((1, 2, 4, 8)):
        table[0xCC + power] = table[0xD0 + power] = (_SCALAR, 0, width)
    for power, width in enumerate((2, 4)):
        table[0xDC + power] = (_ARRAY, width, 0)
        table[0xDE + power] = (_MAP, width, 0)
    return table


_FOLLOWS = _what_follows()


class _Scan:
    """One walk over a body, which raises or finds it within the limits."""

    __slots__ = ("_body", "_culprit", "_is_map", "_items", "_left", "_limits")

    def __init__(
        self,
        body: bytes | bytearray | memoryview,
        limits: Limits,
        culprit: type[ProtocolError],
    ) -> None:
        self._body = body
        self._limits = limits
        self._culprit = culprit
        self._items = 0
        self._left = [1]  # items to come, per open container; the frame is the first
        self._is_map = [False]

    def run(self) -> None:
        body, end = self._body, len(self._body)
        left, is_map = self._left, self._is_map
        if not end or _FOLLOWS[body[0]][0] != _MAP:
            self._refuse("a frame is one map")
        position = 0
        while left:
            if not left[-1]:
                left.pop()
                is_map.pop()
                continue
            if position >= end:
                self._refuse("a frame's map is cut short")
            what, width, length = _FOLLOWS[body[position]]
            if what != _TEXT and is_map[-1] and left[-1] % 2 == 0:
                self._refuse("a map's keys are text")
            left[-1] -= 1
            position += 1
            if width:
                length = int.from_bytes(body[position : position + width], "big")
                position += width
            if what in (_ARRAY, _MAP):
                self._open(what, length)
                continue
            if what != _SCALAR:
                self._check(what, position, length)
            position += length
        if position != end:
            self._refuse("a frame's length and its map disagree")

    def _open(self, what: int, length: int) -> None:
        items = length if what == _ARRAY else 2 * length
        self._items += items
        if self._items > self._limits.items:
            self._refuse_size(f"more than {self._limits.items} items in a frame")
        if len(self._left) > self._limits.depth:
            self._refuse_size(f"a frame deeper than {self._limits.depth}")
        self._left.append(items)
        self._is_map.append(what == _MAP)

    def _check(self, what: int, position: int, length: int) -> None:
        if what == _REFUSED:
            self._refuse("an extension type or reserved byte in a frame")
        if what == _TEXT and length > self._limits.text:
            self._refuse_size(f"text longer than {self._limits.text} bytes")
        if what == _FLOAT:
            exponent = 0x7F80 if length == 4 else 0x7FF0
            first = int.from_bytes(self._body[position : position + 2], "big")
            if first & exponent == exponent:
                self._refuse("a float that is not finite")

    def _refuse(self, message: str) -> NoReturn:
        raise self._culprit(message)

    def _refuse_size(self, message: str) -> NoReturn:
        if self._culprit is LocalProtocolError:
            raise MessageTooLarge(message)
        raise self._culprit(message)
