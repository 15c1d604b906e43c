"""Read a record stream (FORMAT.md, section 2) into plain Python objects.

Written from the format's page and the standard library alone, slow and strict: the
engine's tests look at the walker through it. Every length is checked against what is
left of the stream.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator
from dataclasses import dataclass, field

BARE_FRAME_FIELDS = ("frame_obj", "f_func", "f_locals")
ROOT_KINDS = {1: "interpreter", 2: "thread", 3: "greenlet", 4: "interned", 5: "c"}
FORMS = ("leaf", "items", "pairs", "fields", "compound", "frame")


class StreamError(Exception):
    """The bytes are no record stream."""


@dataclass(slots=True)
class TypeRecord:
    id: int
    address: int
    flags: int
    basicsize: int
    itemsize: int
    module: str | None
    name: str | None
    fields: list[tuple[int, str | None]]

    @property
    def is_heap(self) -> bool:
        return bool(self.flags & 1)


@dataclass(slots=True)
class CodeRecord:
    address: int
    name: str | None
    file: str | None
    first_line: int
    n_free: int
    local_names: list[str | None]


@dataclass(slots=True)
class Edge:
    kind: str  # index, key, value, item, field, local, borrowed, code, or root
    name: object  # str, int, key address, or None
    target: int


@dataclass(slots=True)
class Node:
    address: int
    type: TypeRecord | None
    size: int
    refcount: int
    form: str
    edges: list[Edge] = field(default_factory=list)
    code: int = 0
    line: int = 0

    def targets(self) -> list[int]:
        """The counted references, without the implied one to the type."""
        return [edge.target for edge in self.edges if edge.kind != "borrowed"]

    def named(self, name: object) -> int | None:
        for edge in self.edges:
            if edge.name == name:
                return edge.target
        return None


@dataclass(slots=True)
class Root:
    kind: str
    id: int
    name: str | None
    number: int
    flags: int
    refs: list[tuple[str | None, int]]

    def named(self, name: str) -> list[int]:
        return [target for text, target in self.refs if text == name]


@dataclass(slots=True)
class Graph:
    nodes: dict[int, Node]
    types: dict[int, TypeRecord]
    codes: dict[int, CodeRecord]
    roots: list[Root]
    strings: dict[int, str]
    texts: list[str]
    warnings: list[str]
    counts: dict[int, tuple[int, int]]
    end: tuple[int, int, int]
    _referrers: dict[int, list[tuple[Node, Edge]]] = field(default_factory=dict)

    def of_type(self, name: str) -> list[Node]:
        return [
            node
            for node in self.nodes.values()
            if node.type is not None and node.type.name == name
        ]

    def referrers(self, address: int) -> list[tuple[Node, Edge]]:
        if not self._referrers:
            for node in self.nodes.values():
                for edge in node.edges:
                    self._referrers.setdefault(edge.target, []).append((node, edge))
        return self._referrers.get(address, [])

    def in_edges(self) -> collections.Counter[int]:
        """The counted references to each address, those to types too."""
        total: collections.Counter[int] = collections.Counter()
        for node in self.nodes.values():
            total.update(node.targets())
            if node.type is not None and node.type.is_heap:
                total[node.type.address] += 1
        for root in self.roots:
            for name, target in root.refs:
                if root.kind != "interned" and name != "greenlet":
                    total[target] += 1
        return total


class _Reader:
    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.at = 0
        self.texts: list[str] = []

    def varint(self) -> int:
        value = shift = 0
        for _ in range(10):
            if self.at >= len(self.raw):
                raise StreamError("the stream is cut off")
            byte = self.raw[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                if value >= 1 << 64:
                    break
                return value
        raise StreamError("a varint of more than 64 bits")

    def signed(self) -> int:
        value = self.varint()
        return value >> 1 ^ -(value & 1)

    def count(self) -> int:
        n = self.varint()
        if n > len(self.raw) - self.at:
            raise StreamError("a count beyond the end")
        return n

    def bytes(self) -> bytes:
        n = self.count()
        self.at += n
        return self.raw[self.at - n : self.at]

    def text(self) -> str | None:
        number = self.varint()
        if number > len(self.texts):
            raise StreamError("a text that has not come yet")
        return self.texts[number - 1] if number else None


class _Chain:
    """References of one record, each relative to the one before."""

    def __init__(self, reader: _Reader, start: int) -> None:
        self._reader = reader
        self._previous = start

    def ref(self) -> int:
        value = self._reader.varint()
        if value == 0:
            return 0
        value -= 1
        self._previous += value >> 1 ^ -(value & 1)
        self._previous &= (1 << 64) - 1
        return self._previous << 3


def _field_edges(chain: _Chain, n: int, names: list[str | None]) -> Iterator[Edge]:
    for i in range(n):
        target = chain.ref()
        if target:
            yield Edge("field", names[i] if i < len(names) else None, target)


def _pair_edges(chain: _Chain, n: int) -> Iterator[Edge]:
    for _ in range(n):
        key = chain.ref()
        value = chain.ref()
        if key:
            yield Edge("key", None, key)
        if value:
            yield Edge("value", key, value)


def _item_edges(chain: _Chain, n: int, kind: str) -> Iterator[Edge]:
    for i in range(n):
        target = chain.ref()
        if target:
            yield Edge(kind, i if kind == "index" else None, target)


class _Decoder:
    def __init__(self, raw: bytes) -> None:
        self.reader = _Reader(raw)
        self.graph = Graph({}, {}, {}, [], {}, self.reader.texts, [], {}, (0, 0, 0))
        self.previous_node = 0
        self.previous_string = 0
        self.frames: list[tuple[Node, list[Edge]]] = []

    def run(self) -> Graph:
        while True:
            head = self.reader.varint()
            tag, value = head & 7, head >> 3
            if tag == 7:
                if self.meta(value):
                    break
            elif tag == 6:
                self.root(value)
            else:
                self.node(value, tag)
        if self.reader.at != len(self.reader.raw):
            raise StreamError("bytes after the end")
        self.name_locals()
        return self.graph

    def node(self, type_id: int, tag: int) -> None:
        reader = self.reader
        self.previous_node += reader.signed()
        address = self.previous_node << 3
        if type_id not in self.graph.types and (type_id or tag != 5):
            raise StreamError(f"node {address:#x} has the unknown type {type_id}")
        record = self.graph.types.get(type_id)
        node = Node(address, record, reader.varint(), reader.varint(), FORMS[tag])
        if address in self.graph.nodes:
            raise StreamError(f"node {address:#x} comes twice")
        self.graph.nodes[address] = node
        names = [name for _, name in record.fields] if record else []
        chain = _Chain(reader, self.previous_node)
        edges = node.edges
        if tag == 1:
            edges += _item_edges(chain, reader.count(), "index")
        elif tag == 2:
            edges += _pair_edges(chain, reader.count())
        elif tag == 3:
            edges += _field_edges(chain, reader.count(), names)
        elif tag == 4:
            form = reader.varint()
            n = reader.count()
            if form == 2:
                edges += _pair_edges(chain, n)
            else:
                edges += _item_edges(chain, n, {1: "index", 3: "item"}[form])
            edges += _field_edges(chain, reader.count(), names)
        elif tag == 5:
            self.frame(node, chain, names if record else list(BARE_FRAME_FIELDS))

    def frame(self, node: Node, chain: _Chain, names: list[str | None]) -> None:
        reader = self.reader
        node.code = chain.ref()
        node.line = reader.varint()
        if node.code:
            node.edges.append(Edge("code", "code", node.code))
        local_edges = [
            Edge("local", edge.name, edge.target)
            for edge in _item_edges(chain, reader.count(), "index")
        ]
        node.edges += local_edges
        node.edges += _field_edges(chain, reader.count(), names)
        for _ in range(reader.count()):
            index = reader.varint()
            edge = Edge("borrowed", index, chain.ref())
            local_edges.append(edge)
            node.edges.append(edge)
        self.frames.append((node, local_edges))

    def name_locals(self) -> None:
        for node, edges in self.frames:
            code = self.graph.codes.get(node.code)
            for edge in edges:
                if not isinstance(edge.name, int):
                    raise StreamError("a local without an index")
                if code is None or edge.name >= len(code.local_names):
                    edge.name = None
                else:
                    edge.name = code.local_names[edge.name]

    def root(self, kind: int) -> None:
        reader = self.reader
        number = reader.varint()
        root = Root(
            ROOT_KINDS[kind],
            number,
            reader.text(),
            reader.varint(),
            reader.varint(),
            [],
        )
        chain = _Chain(reader, number)
        for _ in range(reader.count()):
            name = reader.text()
            root.refs.append((name, chain.ref()))
        self.graph.roots.append(root)

    def meta(self, kind: int) -> bool:
        reader = self.reader
        if kind == 0:
            self.graph.end = (reader.varint(), reader.varint(), reader.varint())
            return True
        if kind == 1:
            record = TypeRecord(
                reader.varint(),
                reader.varint() << 3,
                reader.varint(),
                reader.varint(),
                reader.varint(),
                reader.text(),
                reader.text(),
                [],
            )
            for _ in range(reader.count()):
                field_kind = reader.varint()
                record.fields.append((field_kind, reader.text()))
            self.graph.types[record.id] = record
        elif kind == 2:
            reader.texts.append(reader.bytes().decode())
        elif kind == 3:
            self.previous_string += reader.signed()
            self.graph.strings[self.previous_string << 3] = reader.bytes().decode()
        elif kind == 4:
            code = CodeRecord(
                reader.varint() << 3,
                reader.text(),
                reader.text(),
                reader.varint(),
                reader.varint(),
                [],
            )
            code.local_names = [reader.text() for _ in range(reader.count())]
            self.graph.codes[code.address] = code
        elif kind == 5:
            self.graph.warnings.append(reader.text() or "")
        elif kind == 6:
            type_id = reader.varint()
            self.graph.counts[type_id] = (reader.varint(), reader.varint())
        else:
            raise StreamError(f"unknown meta record {kind}")
        return False


def decode(raw: bytes) -> Graph:
    """Read a whole stream; StreamError if it breaks a rule of the format."""
    return _Decoder(raw).run()
