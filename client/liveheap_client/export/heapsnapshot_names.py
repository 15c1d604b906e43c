"""What objects and references are called in a `.heapsnapshot`; see heapsnapshot.py.

Columns over a whole graph, made once: a table by type, then what is told apart by more
than its type (classes, code, functions, frames, modules, roots, lengths of strings).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from liveheap_client.analysis.graph import OWNS, EdgeKind, HeapGraph, NodeFlag
from liveheap_client.analysis.labels import c_field_text, root_label
from liveheap_client.export.heapsnapshot_file import EdgeType, NodeKind, Strings
from liveheap_client.export.outline import Outline, owning

_KIND_OF_TYPE: Final = {
    "str": NodeKind.STRING,
    "bytes": NodeKind.STRING,
    "bytearray": NodeKind.STRING,
    "int": NodeKind.NUMBER,
    "float": NodeKind.NUMBER,
    "complex": NodeKind.NUMBER,
    "bool": NodeKind.NUMBER,
    "function": NodeKind.CLOSURE,
    "code": NodeKind.CODE,
    "memoryview": NodeKind.NATIVE,
    "weakref.ReferenceType": NodeKind.NATIVE,
    "weakref.ProxyType": NodeKind.NATIVE,
    "weakref.CallableProxyType": NodeKind.NATIVE,
    "greenlet.greenlet": NodeKind.NATIVE,
    "gevent._gevent_cgreenlet.Greenlet": NodeKind.NATIVE,
    "_asyncio.Task": NodeKind.NATIVE,
}
_EMPTY_STR = {"3.10": 49, "3.11": 49}
_EMPTY_SINCE = {"str": 41, "bytes": 33, "bytearray": 57}

_TYPE_OF_EDGE: Final = {
    EdgeKind.ATTRIBUTE: EdgeType.PROPERTY,
    EdgeKind.SLOT: EdgeType.PROPERTY,
    EdgeKind.INTERNAL: EdgeType.INTERNAL,
    EdgeKind.ITEM: EdgeType.ELEMENT,
    EdgeKind.KEY: EdgeType.INTERNAL,
    EdgeKind.VALUE: EdgeType.PROPERTY,
    EdgeKind.LOCAL: EdgeType.PROPERTY,
    EdgeKind.BORROWED: EdgeType.PROPERTY,
    EdgeKind.CELL: EdgeType.CONTEXT,
    EdgeKind.ROOT: EdgeType.INTERNAL,
    EdgeKind.UNNAMED: EdgeType.INTERNAL,
    EdgeKind.CODE: EdgeType.INTERNAL,
    EdgeKind.STACK: EdgeType.INTERNAL,
}
# What references are called that bear no name of their own.
_NAME_OF_EDGE: Final = {
    EdgeKind.ITEM: "[*]",
    EdgeKind.VALUE: "[*]",
    EdgeKind.KEY: "key",
    EdgeKind.UNNAMED: c_field_text()[1:],
    EdgeKind.CODE: "code",
    EdgeKind.STACK: "stack",
}


class NodeNames:
    """What kind each node is in V8's words, and its name."""

    def __init__(self, outline: Outline, strings: Strings) -> None:
        graph = outline.graph
        self._graph = graph
        self._strings = strings
        number = strings.number
        types = graph.types
        kinds = [_KIND_OF_TYPE.get(info.name, NodeKind.OBJECT) for info in types]
        self.kind = np.array(kinds, np.uint8)[graph.type]
        self.name = np.array([number(info.name) for info in types], np.int32)[
            graph.type
        ]
        self._name_strings(outline)
        self._name_types()
        self._name_code()
        for module in graph.modules:
            self._set(module.node, NodeKind.OBJECT, f"module {module.name}")
        for root in graph.roots:
            self._set(root.node, NodeKind.SYNTHETIC, root_label(root))

    def _set(self, node: int, kind: NodeKind, name: str) -> None:
        self.kind[node] = kind
        self.name[node] = self._strings.number(name)

    def _name_strings(self, outline: Outline) -> None:
        graph = self._graph
        version = ".".join(str(graph.header.get("python", "")).split(".")[:2])
        empty = {**_EMPTY_SINCE, "str": _EMPTY_STR.get(version, _EMPTY_SINCE["str"])}
        for number, info in enumerate(graph.types):
            if self._graph.type_name(number) not in empty:
                continue
            nodes = np.flatnonzero(graph.type == number)
            sizes, place = np.unique(outline.size[nodes], return_inverse=True)
            names = [
                self._strings.number(
                    f"{info.name}[{max(0, int(s) - empty[info.name])}]"
                )
                for s in sizes
            ]
            if names:
                self.name[nodes] = np.array(names, np.int32)[place]

    def _name_types(self) -> None:
        shapes = self._graph.flags & NodeFlag.TYPE != 0
        self.kind[shapes] = NodeKind.OBJECT_SHAPE
        for info in self._graph.types:
            if info.node >= 0:
                self.name[info.node] = self._strings.number(f"class {info.name}")

    def _name_code(self) -> None:
        """Name code objects, the functions made of them, and frames."""
        graph = self._graph
        for node, code in graph.code_by_node.items():
            text = f"{code.qualname}() at {code.short_filename}:{code.first_line}"
            self._set(node, NodeKind.CODE, text)
        internal = graph.edge_kind & (OWNS - 1) == EdgeKind.INTERNAL
        is_code = self.kind == NodeKind.CODE
        edges = np.flatnonzero(internal & is_code[graph.target]).astype(np.uint32)
        sources = np.searchsorted(graph.row, edges, side="right") - 1
        made = self.kind[sources] == NodeKind.CLOSURE
        self.name[sources[made]] = self.name[graph.target[edges[made]]]
        for node, frame in graph.frames.items():
            kind = graph.type_name(int(graph.type[node]))
            text = frame.text() if graph.type[node] == 0 else f"{kind} {frame.text()}"
            self._set(node, NodeKind.NATIVE, text)


class EdgeNames:
    """What each reference is in V8's words, and its name or number."""

    def __init__(self, graph: HeapGraph, strings: Strings) -> None:
        self._graph = graph
        self._type = np.zeros(OWNS, np.int64)
        self._unnamed = np.zeros(OWNS, np.int64)
        for kind, type_ in _TYPE_OF_EDGE.items():
            self._type[kind] = type_
            self._unnamed[kind] = strings.number(_NAME_OF_EDGE.get(kind, "?"))
        self._name = np.zeros(graph.facts["names"] + 1, np.int64)
        for number in np.unique(graph.edge_name):
            self._name[number] = strings.number(graph.name(int(number)))

    def rows(self, edges: NDArray[np.uint32]) -> NDArray[np.int64]:
        """Return rows, still without their targets."""
        graph = self._graph
        kind = graph.edge_kind[edges] & (OWNS - 1)
        name = graph.edge_name[edges]
        rows = np.empty((len(edges), 3), np.int64)
        element = np.isin(kind, (EdgeKind.ITEM, EdgeKind.VALUE)) & (name == 0)
        owns = owning(graph, edges)
        type_ = np.where(element, EdgeType.ELEMENT, self._type[kind])
        rows[:, 0] = np.where(owns, type_, EdgeType.WEAK)
        rows[:, 1] = np.where(name > 0, self._name[name], self._unnamed[kind])
        numbered = np.flatnonzero(element & owns)
        first = graph.row[graph_sources(graph, edges[numbered])]
        rows[numbered, 1] = edges[numbered] - first
        return rows


def graph_sources(graph: HeapGraph, edges: NDArray[np.uint32]) -> NDArray[np.intp]:
    """Return the nodes that some edges start from."""
    sources: NDArray[np.intp] = np.searchsorted(graph.row, edges, side="right") - 1
    return sources
