"""A histogram's record stream, read back: objects and bytes by type.

The stream is the META records of the snapshot format (FORMAT.md, 2.2): TEXT, TYPE and
END, and between them kind 6, COUNT, which files never hold: type id, objects, bytes.
It comes from our own child over our own spool, but a child that died in the middle
leaves half a record: every length is checked.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from liveheap.errors import EngineError

META = 7
END, TYPE, TEXT, WARNING, COUNT = 0, 1, 2, 5, 6
MADE_BY_LIVEHEAP = 8
VARINT_MAX = 10


@dataclass(frozen=True, slots=True)
class TypeCount:
    """One row: how many objects of a type there are, and their shallow sizes."""

    module: str
    name: str
    count: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Counts:
    """All rows but those of liveheap's own types; the totals include them."""

    rows: list[TypeCount]
    nodes: int
    bytes: int
    complete: bool


@dataclass(frozen=True, slots=True)
class _Type:
    flags: int
    module: int
    name: int


def read_counts(raw: bytes) -> Counts:
    """Decode a whole stream. A cut one gives what it holds, and complete=False."""
    texts = [""]
    types: dict[int, _Type] = {}
    counted: list[tuple[int, int, int]] = []
    reader = _Reader(raw)
    end = None
    try:
        while end is None:
            kind = reader.meta_kind()
            if kind == TEXT:
                texts.append(reader.text())
            elif kind == TYPE:
                type_id, found = _read_type(reader)
                types[type_id] = found
            elif kind == COUNT:
                counted.append((reader.varint(), reader.varint(), reader.varint()))
            elif kind == END:
                end = (reader.varint(), reader.varint(), reader.varint())
            elif kind == WARNING:
                reader.varint()
            else:
                raise EngineError(f"META kind {kind} in a histogram's stream")
    except EOFError:
        end = None
    rows = list(_rows(counted, types, texts))
    return Counts(
        rows=rows,
        nodes=end[0] if end else sum(row.count for row in rows),
        bytes=end[2] if end else sum(row.bytes for row in rows),
        complete=end is not None,
    )


def _read_type(reader: "_Reader") -> tuple[int, _Type]:
    type_id, _address, flags, _basic, _item, module, name, n_fields = (
        reader.varint() for _ in range(8)
    )
    for _ in range(2 * n_fields):
        reader.varint()
    return type_id, _Type(flags, module, name)


def _rows(
    counted: list[tuple[int, int, int]], types: dict[int, _Type], texts: list[str]
) -> Iterator[TypeCount]:
    for type_id, count, n_bytes in counted:
        found = types.get(type_id)
        if found is None or max(found.module, found.name) >= len(texts):
            raise EngineError(f"a count of type {type_id}, which has no name")
        if count and not found.flags & MADE_BY_LIVEHEAP:
            yield TypeCount(texts[found.module], texts[found.name], count, n_bytes)


class _Reader:
    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    def varint(self) -> int:
        value = shift = 0
        for _ in range(VARINT_MAX):
            if self._at >= len(self._raw):
                raise EOFError
            byte = self._raw[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
        raise EngineError("a varint of more than ten bytes in a histogram's stream")

    def meta_kind(self) -> int:
        kind, tag = divmod(self.varint(), 8)
        if tag != META:
            raise EngineError(f"record tag {tag} in a histogram's stream")
        return kind

    def text(self) -> str:
        length = self.varint()
        if self._at + length > len(self._raw):
            raise EOFError
        piece = self._raw[self._at : self._at + length]
        self._at += length
        return piece.decode("utf-8", "replace")
