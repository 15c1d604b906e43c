"""Read a record stream (FORMAT.md, section 2).

Written from the format's page and the standard library alone, strict: every length is
checked against what is left of the stream. The engine's tests look at the walker
through it, in the very process that is walked; so a decoded graph is a few arrays, and
objects for nodes and edges are made when asked for. A graph of objects would be in the
next walk, and be decoded to five times as many. As a program it reads a stream and
gives the graph back pickled.
"""

from __future__ import annotations

import bisect
import collections
import pickle
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

BARE_FRAME_FIELDS = ("frame_obj", "f_func", "f_locals")
ROOT_KINDS = {1: "interpreter", 2: "thread", 3: "greenlet", 4: "interned", 5: "c"}
FORMS = ("leaf", "items", "pairs", "fields", "compound", "frame")
EDGE_KINDS = ("index", "key", "value", "item", "field", "local", "borrowed", "code")
INDEX, KEY, VALUE, ITEM, FIELD, LOCAL, BORROWED, CODE = range(8)
WORD = (1 << 64) - 1


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
    kind: str  # of EDGE_KINDS
    name: object  # a name, an index, a key's address, or None
    target: int


@dataclass(slots=True)
class Root:
    kind: str
    id: int
    name: str | None
    number: int
    flags: int
    names: list[str | None]
    targets: array[int]

    @property
    def refs(self) -> Iterator[tuple[str | None, int]]:
        return zip(self.names, self.targets, strict=True)

    def named(self, name: str) -> list[int]:
        return [target for text, target in self.refs if text == name]


class Node:
    """One node of a graph, made when asked for."""

    __slots__ = ("_at", "_graph")

    def __init__(self, graph: Graph, at: int) -> None:
        self._graph = graph
        self._at = at

    @property
    def address(self) -> int:
        return self._graph.addresses[self._at]

    @property
    def type(self) -> TypeRecord | None:
        return self._graph.types.get(self._graph.type_ids[self._at])

    @property
    def size(self) -> int:
        return self._graph.sizes[self._at]

    @property
    def refcount(self) -> int:
        return self._graph.refcounts[self._at]

    @property
    def form(self) -> str:
        return FORMS[self._graph.forms[self._at]]

    @property
    def line(self) -> int:
        return self._graph.lines.get(self._at, 0)

    @property
    def code(self) -> int:
        return next((e.target for e in self.edges if e.kind == "code"), 0)

    @property
    def edges(self) -> list[Edge]:
        graph, at = self._graph, self._at
        return [self._edge(i) for i in range(graph.starts[at], graph.starts[at + 1])]

    def _edge(self, i: int) -> Edge:
        graph = self._graph
        kind, extra = graph.edge_kinds[i], graph.edge_extras[i]
        name: object = None
        if kind in {INDEX, VALUE}:
            name = extra
        elif kind == FIELD:
            record = self.type
            names = [text for _, text in record.fields] if record else BARE_FRAME_FIELDS
            name = names[extra] if extra < len(names) else None
        elif kind in {LOCAL, BORROWED}:
            code = graph.codes.get(graph.targets[graph.starts[self._at]])
            if code is not None and extra < len(code.local_names):
                name = code.local_names[extra]
        elif kind == CODE:
            name = "code"
        return Edge(EDGE_KINDS[kind], name, graph.targets[i])

    def targets(self) -> list[int]:
        """The counted references, without the implied one to the type."""
        graph, at = self._graph, self._at
        return [
            graph.targets[i]
            for i in range(graph.starts[at], graph.starts[at + 1])
            if graph.edge_kinds[i] != BORROWED
        ]

    def named(self, name: object) -> int | None:
        return next((e.target for e in self.edges if e.name == name), None)


class Nodes:
    """The nodes of a graph by address, like a dict."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def _find(self, address: int) -> int:
        graph = self._graph
        i = bisect.bisect_left(graph.order, address, key=graph.addresses.__getitem__)
        if i < len(graph.order) and graph.addresses[graph.order[i]] == address:
            return graph.order[i]
        return -1

    def __len__(self) -> int:
        return len(self._graph.addresses)

    def __contains__(self, address: object) -> bool:
        return isinstance(address, int) and self._find(address) >= 0

    def __iter__(self) -> Iterator[int]:
        return iter(self._graph.addresses)

    def __getitem__(self, address: int) -> Node:
        if (at := self._find(address)) < 0:
            raise KeyError(hex(address))
        return Node(self._graph, at)

    def get(self, address: int) -> Node | None:
        return None if (at := self._find(address)) < 0 else Node(self._graph, at)

    def values(self) -> Iterator[Node]:
        return (Node(self._graph, at) for at in range(len(self)))


class Codes:
    """The CODE records by address, like a dict."""

    def __init__(self, texts: list[str]) -> None:
        self._texts = texts
        self.columns = array("Q")
        self.places: dict[int, int] = {}

    def _text(self, number: int) -> str | None:
        return self._texts[number - 1] if number else None

    def __getitem__(self, address: int) -> CodeRecord:
        at = self.places[address]
        name, file, line, n_free, n = self.columns[at : at + 5]
        names = [self._text(each) for each in self.columns[at + 5 : at + 5 + n]]
        return CodeRecord(
            address, self._text(name), self._text(file), line, n_free, names
        )

    def get(self, address: int) -> CodeRecord | None:
        return self[address] if address in self.places else None

    def values(self) -> Iterator[CodeRecord]:
        return map(self.__getitem__, self.places)


@dataclass(eq=False)
class Graph:
    types: dict[int, TypeRecord] = field(default_factory=dict)
    roots: list[Root] = field(default_factory=list)
    strings: dict[int, str] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    hashes: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    previews: dict[int, tuple[int, int, str]] = field(default_factory=dict)
    counts: dict[int, tuple[int, int]] = field(default_factory=dict)
    end: tuple[int, int, int] = (0, 0, 0)
    addresses: array[int] = field(default_factory=lambda: array("Q"))
    type_ids: array[int] = field(default_factory=lambda: array("I"))
    sizes: array[int] = field(default_factory=lambda: array("Q"))
    refcounts: array[int] = field(default_factory=lambda: array("Q"))
    forms: array[int] = field(default_factory=lambda: array("B"))
    starts: array[int] = field(default_factory=lambda: array("Q"))
    targets: array[int] = field(default_factory=lambda: array("Q"))
    edge_kinds: array[int] = field(default_factory=lambda: array("B"))
    edge_extras: array[int] = field(default_factory=lambda: array("Q"))
    lines: dict[int, int] = field(default_factory=dict)
    order: array[int] = field(default_factory=lambda: array("Q"))

    def __post_init__(self) -> None:
        self.nodes = Nodes(self)
        self.codes = Codes(self.texts)

    def __repr__(self) -> str:
        return f"<Graph of {len(self.nodes)} nodes>"

    def of_type(self, name: str) -> list[Node]:
        ids = {number for number, each in self.types.items() if each.name == name}
        return [
            Node(self, at) for at, number in enumerate(self.type_ids) if number in ids
        ]

    def referrers(self, address: int) -> list[tuple[Node, Edge]]:
        found = []
        i = -1
        for _ in range(self.targets.count(address)):
            i = self.targets.index(address, i + 1)
            node = Node(self, bisect.bisect_right(self.starts, i) - 1)
            found.append((node, node._edge(i)))
        return found

    def owners_of_dicts(self) -> dict[int, Node]:
        """The nodes that refer to something as their `__dict__`, by its address."""
        with_dict = {
            number
            for number, record in self.types.items()
            if any(name == "__dict__" for _, name in record.fields)
        }
        owners = {}
        for at, number in enumerate(self.type_ids):
            if number in with_dict:
                node = Node(self, at)
                if (address := node.named("__dict__")) is not None:
                    owners[address] = node
        return owners

    def in_edges(self) -> collections.Counter[int]:
        """The counted references to each address, those to types too."""
        total: collections.Counter[int] = collections.Counter(
            target
            for target, kind in zip(self.targets, self.edge_kinds, strict=True)
            if kind != BORROWED
        )
        for number, n in collections.Counter(self.type_ids).items():
            if number and self.types[number].is_heap:
                total[self.types[number].address] += n
        for root in self.roots:
            if root.kind != "interned":
                total.update(to for name, to in root.refs if name != "greenlet")
        return total


def read_rest(raw: bytes, at: int, value: int) -> tuple[int, int]:
    """A varint whose first byte says that more follow, and where it ends."""
    value &= 0x7F
    for shift in range(7, 70, 7):
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value > WORD:
                raise StreamError("a varint of more than 64 bits")
            return value, at
    raise StreamError("a varint of more than 10 bytes")


class _Decoder:
    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.at = 0
        self.graph = Graph()
        self.previous_node = 0
        self.previous_string = 0
        self.previous_preview = 0
        self.previous = 0  # target of the reference before, in this record

    def varint(self) -> int:
        value = self.raw[self.at]
        self.at += 1
        if value >= 0x80:
            value, self.at = read_rest(self.raw, self.at, value)
        return value

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

    def fixed(self, n: int) -> int:
        self.at += n
        if self.at > len(self.raw):
            raise StreamError("a number beyond the end")
        return int.from_bytes(self.raw[self.at - n : self.at], "little")

    def text(self) -> str | None:
        number = self.varint()
        if number > len(self.graph.texts):
            raise StreamError("a text that has not come yet")
        return self.graph.texts[number - 1] if number else None

    def ref(self) -> int:
        value = self.varint()
        if value == 0:
            return 0
        value -= 1
        self.previous = (self.previous + (value >> 1 ^ -(value & 1))) & WORD
        return self.previous << 3

    def edge(self, kind: int, extra: int) -> int:
        if target := self.ref():
            self.graph.targets.append(target)
            self.graph.edge_kinds.append(kind)
            self.graph.edge_extras.append(extra)
        return target

    def edges(self, kind: int) -> None:
        """Read refs; written out, since most of a stream is read here."""
        n, graph, raw = self.count(), self.graph, self.raw
        at, target = self.at, self.previous
        for i in range(n):
            value = raw[at]
            at += 1
            if value >= 0x80:
                value, at = read_rest(raw, at, value)
            if value:
                target = (target + ((value - 1) >> 1 ^ -((value - 1) & 1))) & WORD
                graph.targets.append(target << 3)
                graph.edge_kinds.append(kind)
                graph.edge_extras.append(i)
        self.at, self.previous = at, target

    def pairs(self) -> None:
        for _ in range(self.count()):
            self.edge(VALUE, self.edge(KEY, 0))

    def run(self) -> Graph:
        graph = self.graph
        while True:
            head = self.varint()
            tag, value = head & 7, head >> 3
            if tag < 6:
                self.node(value, tag)
            elif tag == 6:
                self.root(value)
            elif self.meta(value):
                break
        if self.at != len(self.raw):
            raise StreamError("bytes after the end")
        graph.starts.append(len(graph.targets))
        numbers = range(len(graph.addresses))
        graph.order.extend(sorted(numbers, key=graph.addresses.__getitem__))
        self.check_order()
        return graph

    def check_order(self) -> None:
        addresses = self.graph.addresses
        last = -1
        for at in self.graph.order:
            if addresses[at] == last:
                raise StreamError(f"node {last:#x} comes twice")
            last = addresses[at]

    def node(self, type_id: int, tag: int) -> None:
        graph = self.graph
        self.previous_node += self.signed()
        if type_id not in graph.types and (type_id or tag != 5):
            raise StreamError(f"a node of the unknown type {type_id}")
        graph.addresses.append(self.previous_node << 3)
        graph.type_ids.append(type_id)
        graph.sizes.append(self.varint())
        graph.refcounts.append(self.varint())
        graph.forms.append(tag)
        graph.starts.append(len(graph.targets))
        self.previous = self.previous_node
        if tag == 1:
            self.edges(INDEX)
        elif tag == 2:
            self.pairs()
        elif tag == 3:
            self.edges(FIELD)
        elif tag == 4:
            form = self.varint()
            if form == 2:
                self.pairs()
            else:
                self.edges({1: INDEX, 3: ITEM}[form])
            self.edges(FIELD)
        elif tag == 5:
            self.edge(CODE, 0)
            graph.lines[len(graph.addresses) - 1] = self.varint()
            self.edges(LOCAL)
            self.edges(FIELD)
            for _ in range(self.count()):
                self.edge(BORROWED, self.varint())

    def root(self, kind: int) -> None:
        number = self.varint()
        root = Root(
            ROOT_KINDS[kind],
            number,
            self.text(),
            self.varint(),
            self.varint(),
            [],
            array("Q"),
        )
        self.previous = number
        for _ in range(self.count()):
            root.names.append(self.text())
            root.targets.append(self.ref())
        self.graph.roots.append(root)

    def meta(self, kind: int) -> bool:
        graph = self.graph
        if kind == 0:
            graph.end = (self.varint(), self.varint(), self.varint())
            return True
        if kind == 1:
            self.type()
        elif kind == 2:
            graph.texts.append(self.bytes().decode())
        elif kind == 3:
            self.previous_string += self.signed()
            graph.strings[self.previous_string << 3] = self.bytes().decode()
        elif kind == 4:
            self.code()
        elif kind == 5:
            graph.warnings.append(self.text() or "")
        elif kind == 6:
            type_id = self.varint()
            graph.counts[type_id] = (self.varint(), self.varint())
        elif kind == 7:
            if graph.addresses[-1] in graph.hashes:
                raise StreamError("two hashes of one object")
            said = (self.varint(), self.varint(), self.fixed(8))
            graph.hashes[graph.addresses[-1]] = said
        elif kind == 8:
            self.previous_preview += self.signed()
            told = (self.varint(), self.varint(), self.bytes().decode())
            if graph.previews.setdefault(self.previous_preview << 3, told) is not told:
                raise StreamError("two previews of one object")
        else:
            raise StreamError(f"unknown meta record {kind}")
        return False

    def type(self) -> None:
        number = self.varint()
        address, flags, basicsize, itemsize = (
            self.varint() << 3,
            self.varint(),
            self.varint(),
            self.varint(),
        )
        record = TypeRecord(
            number, address, flags, basicsize, itemsize, self.text(), self.text(), []
        )
        for _ in range(self.count()):
            kind = self.varint()
            record.fields.append((kind, self.text()))
        self.graph.types[number] = record

    def code(self) -> None:
        codes = self.graph.codes
        address = self.varint() << 3
        codes.places[address] = len(codes.columns)
        for _ in range(4):
            codes.columns.append(self.varint())
        n = self.count()
        codes.columns.append(n)
        for _ in range(n):
            number = self.varint()
            if number > len(self.graph.texts):
                raise StreamError("a text that has not come yet")
            codes.columns.append(number)


def decode(raw: bytes) -> Graph:
    """Read a whole stream; StreamError if it breaks a rule of the format."""
    try:
        return _Decoder(raw).run()
    except IndexError as exc:
        raise StreamError("the stream is cut off") from exc


if __name__ == "__main__":
    # Imported, so that what is pickled says of which module it is.
    from stream import decode as decode_here

    sys.stdout.buffer.write(pickle.dumps(decode_here(sys.stdin.buffer.read()), 5))
