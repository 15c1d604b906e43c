"""The protobuf wire format, as far as writing needs it."""

from __future__ import annotations

from collections.abc import Iterable

_LENGTH_DELIMITED = 2
_64_BITS = (1 << 64) - 1


def varint(value: int) -> bytes:
    """Return an integer; a negative one as its two's complement in 64 bits."""
    value &= _64_BITS
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    """Return an integer field."""
    return varint(field << 3) + varint(value)


def packed(field: int, values: Iterable[int]) -> bytes:
    """Return a repeated integer field."""
    return message(field, b"".join(map(varint, values)))


def message(field: int, body: bytes) -> bytes:
    """Return a field that is a message or bytes."""
    return varint(field << 3 | _LENGTH_DELIMITED) + varint(len(body)) + body


def text(field: int, value: str) -> bytes:
    """Return a text field; a lone surrogate, which UTF-8 has not, becomes `?`."""
    return message(field, value.encode(errors="replace"))
