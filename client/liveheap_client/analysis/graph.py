"""A heap graph in memory: columns, and flyweights over them.

`HeapGraph.load` reads a snapshot file through the C decoder. The graph stays in flat
numpy columns which are views of the decoder's memory: 70 bytes an object at three
references each, and no Python object for any of them. A `Node` is the pair (graph,
index) whose properties look things up; make one for what a person will read, never
for each object.

Nodes are numbered in the order of the stream. Roots are nodes as well, without a
type. Node numbers and addresses mean nothing outside this graph: CPython gives a
freed address to the next object of that size, so two graphs are compared by paths.

Errors: a stream that makes no sense raises CorruptSnapshot, one that ends early
TruncatedSnapshot, whatever the C side calls them.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from liveheap.errors import CorruptSnapshot, SnapshotError, TruncatedSnapshot
from liveheap.snapshot.format import Tag
from liveheap.snapshot.reader import Snapshot
from liveheap_client import _graph
from liveheap_client.analysis.ahead import ahead
from liveheap_client.analysis.columncache import ColumnCache
from liveheap_client.analysis.dominators import Dominators
from liveheap_client.analysis.previews import Previews
from liveheap_client.analysis.records import Code, Frame, Module, Root, TypeInfo
from liveheap_client.analysis.tasks import Tasks

OWNS = 0x80
# Six on a real heap: 12 bytes of records and 70 of columns an object.
LEAST_MEMORY_A_RAW_BYTE = 4

_Number = TypeVar("_Number", bound=np.generic)


class EdgeKind(IntEnum):
    """What a reference is; its name says which one."""

    ATTRIBUTE = 1
    SLOT = 2
    INTERNAL = 3
    ITEM = 4
    KEY = 5
    VALUE = 6
    LOCAL = 7
    BORROWED = 8
    CELL = 9
    ROOT = 10
    UNNAMED = 11
    CODE = 12
    STACK = 13


class NodeFlag(IntEnum):
    """What the decoder found out about a node."""

    IMMORTAL = 1
    INTERNED = 2
    TEXT = 4
    TYPE = 8
    MODULE = 16
    NAMESPACE = 32
    FOLDED = 64
    BASES = 128
    HOMED = 256
    SEEN = 512


@dataclass(frozen=True, slots=True)
class Node:
    """One object, looked up when asked."""

    graph: HeapGraph
    index: int

    @property
    def address(self) -> int:
        return int(self.graph.address[self.index]) * 8

    @property
    def type(self) -> TypeInfo:
        return self.graph.types[int(self.graph.type[self.index])]

    @property
    def size(self) -> int:
        return int(self.graph.size[self.index])

    @property
    def refcount(self) -> int:
        return int(self.graph.refcount[self.index])

    @property
    def is_root(self) -> bool:
        return bool(self.graph.record[self.index] == Tag.ROOT)

    def iter_edges(self) -> Iterator[Edge]:
        """Yield the references this node holds, in their order."""
        row = self.graph.row
        for index in range(int(row[self.index]), int(row[self.index + 1])):
            yield Edge(self.graph, index)


@dataclass(frozen=True, slots=True)
class Edge:
    """One reference, looked up when asked."""

    graph: HeapGraph
    index: int

    @property
    def kind(self) -> EdgeKind:
        return EdgeKind(int(self.graph.edge_kind[self.index]) & ~OWNS)

    @property
    def name(self) -> str:
        return self.graph.name(int(self.graph.edge_name[self.index]))

    @property
    def owns(self) -> bool:
        return bool(self.graph.edge_kind[self.index] & OWNS)

    @property
    def target(self) -> Node:
        return Node(self.graph, int(self.graph.target[self.index]))


class HeapGraph:
    """The columns of one snapshot, with its header and trailer."""

    def __init__(
        self,
        raw: _graph.Graph,
        *,
        header: Mapping[str, Any] | None = None,
        trailer: Mapping[str, Any] | None = None,
    ) -> None:
        self.raw = raw
        self.header = dict(header or {})
        self.trailer = dict(trailer or {})
        self.facts = raw.facts()
        self.truncated = not self.facts["complete"]
        self.address = column(raw, "address", np.uint64)
        self.type = column(raw, "type", np.uint32)
        self.size = column(raw, "size", np.uint64)
        self.refcount = column(raw, "refcount", np.uint32)
        self.record = column(raw, "record", np.uint8)
        self.row = column(raw, "row", np.uint32)
        self.flags = column(raw, "flags", np.uint16)
        self.target = column(raw, "target", np.int32)
        self.edge_kind = column(raw, "edge_kind", np.uint8)
        self.edge_name = column(raw, "edge_name", np.uint32)
        self.previews = Previews.of(raw)
        if len(self.previews) and self.header.get("scope") != "values":
            raise CorruptSnapshot(
                "the file has contents, which its header does not say: scope values"
            )
        self._names: dict[int, str] = {}
        self._unkept: ColumnCache | None = None

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, allow_truncated: bool = False
    ) -> HeapGraph:
        """Read a snapshot file.

        Raises:
            SnapshotError: the file is not what it should be.
        """
        with Snapshot.open(path, allow_truncated=allow_truncated) as snapshot:
            cache = ColumnCache.of(snapshot)
            kept = None if cache is None else cache.read()
            if kept is not None:
                return cls(kept, header=snapshot.header, trailer=snapshot.trailer)
            _check_memory(snapshot)
            with closing(ahead(snapshot.iter_raw())) as pieces:
                graph = cls.decode(
                    pieces,
                    header=snapshot.header,
                    trailer=snapshot.trailer,
                    allow_truncated=snapshot.truncated,
                )
            graph._unkept = cache
            return graph

    def keep(self) -> None:
        """Let the next load of this file be quick, where that pays and can be."""
        if self._unkept is not None:
            self._unkept.write(self.raw)
            self._unkept = None

    @classmethod
    def decode(
        cls,
        pieces: Iterable[bytes],
        *,
        header: Mapping[str, Any] | None = None,
        trailer: Mapping[str, Any] | None = None,
        allow_truncated: bool = False,
    ) -> HeapGraph:
        """Decode a record stream."""
        decoder = _graph.Decoder()
        with _snapshot_errors():
            for piece in pieces:
                decoder.feed(piece)
            raw = decoder.finish(allow_truncated)
        return cls(raw, header=header, trailer=trailer)

    @property
    def n_nodes(self) -> int:
        """Nodes, roots included."""
        return len(self.address)

    @cached_property
    def types(self) -> list[TypeInfo]:
        """All types; number 0 stands for none."""
        types = [TypeInfo(*fields) for fields in self.raw.types()]
        types[0] = TypeInfo("", "frame", 0, -1, 0)
        return types

    @cached_property
    def class_of_type(self) -> NDArray[np.uint32]:
        """The first type of the same name, by type."""
        return np.array([t.class_id for t in self.types], np.uint32)

    @cached_property
    def codes(self) -> list[Code]:
        """All code objects that the stream describes."""
        name = self.name
        return [
            Code(name(qualname), name(filename), class_id, line, node)
            for qualname, filename, class_id, line, node in self.raw.codes()
        ]

    @cached_property
    def frames(self) -> dict[int, Frame]:
        """Frames, generators and coroutines, by node."""
        codes = self.codes
        return {
            node: Frame(node, None if code < 0 else codes[code], line)
            for node, code, line in self.raw.frames()
        }

    @cached_property
    def roots(self) -> list[Root]:
        """The ROOT records, in the order of their nodes."""
        return [Root(*fields) for fields in self.raw.roots()]

    @cached_property
    def modules(self) -> list[Module]:
        """The modules of sys.modules, in its order."""
        modules = []
        for node, namespace, name_id, name, filename, native in self.raw.modules():
            # One without a name goes by its file, lest all of them become one.
            known, shown = name_id, name
            if not known:
                shown = filename.rpartition("/")[2]
                known = self.raw.find_name(shown)
            modules.append(
                Module(node, namespace, known, shown, filename, bool(native))
            )
        return modules

    @cached_property
    def module_by_node(self) -> dict[int, Module]:
        """The modules by their nodes."""
        return {module.node: module for module in self.modules}

    @cached_property
    def code_by_node(self) -> dict[int, Code]:
        """Code objects by their nodes."""
        return {code.node: code for code in self.codes if code.node >= 0}

    @cached_property
    def reverse(self) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """The owning edges by target: rows, and numbers of edges."""
        row, edge = self.raw.reverse()
        return (
            np.frombuffer(memoryview(row), np.uint32),
            np.frombuffer(memoryview(edge), np.uint32),
        )

    @cached_property
    def dominators(self) -> Dominators:
        """The dominator tree, with retained sizes."""
        return Dominators.of(self.raw)

    @cached_property
    def tasks(self) -> Tasks:
        """The tasks that ran, by what they ran on."""
        return Tasks.of(self)

    def name(self, number: int) -> str:
        """Return the text of a name; 0 is the empty one."""
        text = self._names.get(number)
        if text is None:
            text = self._names[number] = self.raw.name(number)
        return text

    def type_name(self, type_id: int) -> str:
        """Return the name of a type as people write it."""
        return self.types[type_id].name

    def source(self, edge: int) -> int:
        """Return the node that an edge starts from."""
        # Of the row's own type, or numpy would convert all of it for one look-up.
        return int(np.searchsorted(self.row, np.uint32(edge), side="right")) - 1

    def root_of(self, node: int) -> Root | None:
        """Return the root that a node is, None if it is an object."""
        roots = self.roots
        place = bisect_left(roots, node, key=lambda root: root.node)
        if place < len(roots) and roots[place].node == node:
            return roots[place]
        return None

    @property
    def rss(self) -> int | None:
        """The worker's RSS when the snapshot was taken, if the header says it."""
        value = self.header.get("rss")
        return value if isinstance(value, int) else None


def column(
    raw: _graph.Graph | _graph.Paths, name: str, dtype: type[_Number]
) -> NDArray[_Number]:
    """Return a column of the C side as an array, without a copy."""
    return np.frombuffer(memoryview(raw.column(name)), dtype)


def _check_memory(snapshot: Snapshot) -> None:
    """Refuse what cannot fit, before the kernel kills someone for it.

    Blocks compress a thousandfold if they were made for it, and this may run beside
    the worker that is looked at.
    """
    free = available_memory()
    least = LEAST_MEMORY_A_RAW_BYTE * snapshot.raw_length
    if free is not None and least > free:
        raise SnapshotError(
            f"{snapshot.name} needs at least {least >> 20} MiB of memory to analyse, "
            f"{free >> 20} MiB are available",
            hint="copy the file to a machine with more memory",
        )


def available_memory() -> int | None:
    """Return what the kernel would give without harm, None if it does not tell."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    kib = [fields.get(name, "0").split()[0] for name in ("MemAvailable", "SwapFree")]
    return sum(map(int, kib)) * 1024


@contextmanager
def _snapshot_errors() -> Iterator[None]:
    """Give the decoder's errors their names in our tree."""
    try:
        yield
    except _graph.CorruptStream as exc:
        raise CorruptSnapshot(f"corrupt record stream: {exc}") from exc
    except _graph.TruncatedStream as exc:
        raise TruncatedSnapshot(str(exc)) from exc
    except OverflowError as exc:
        raise SnapshotError(f"too large for this client: {exc}") from exc
