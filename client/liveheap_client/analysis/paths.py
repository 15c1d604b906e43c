"""Path nodes: all objects of a graph, merged by the path that holds them.

`PathNodes.of(graph)` says where the search starts and in which order (the *plan*: see
`_Class`), lets the C side run it, and tells what it found: columns over path nodes,
their texts, and the retaining path of any object. What a path node is stands in
csrc/pathnodes.h, which edges count in csrc/resolve.h.

A path's text reads like the source where it can:

    worker.CACHE.rows[*] -> worker.Row
    greenlet -> sync() at worker.py:41 local "rows" [*] -> worker.Row
    worker.on_event closure "seen" {key} -> str

Only names of program text stand in it; every other key or index is `[*]`.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from liveheap.snapshot.format import RootFlag, RootKind
from liveheap_client import _graph
from liveheap_client.analysis.graph import EdgeKind, HeapGraph, NodeFlag, Root, column
from liveheap_client.analysis.ownership import (
    Party,
    application_files,
    is_library_file,
    parties,
)

MAX_DEPTH: Final = 40
MAX_NODES: Final = 200_000
NO_EDGE: Final = 0xFFFF_FFFF

_ELIDED = frozenset({"__dict__", "__closure__", "cell_contents"})


class Label(IntEnum):
    """What leads from one path node to the next, as in csrc/pathnodes.h."""

    ATTRIBUTE = 1
    INTERNAL = 2
    KEYED = 3
    ITEM = 4
    KEY = 5
    LOCAL = 6
    CELL = 7
    FRAME = 8
    ROOT = 9
    UNNAMED = 10
    DEEP = 11
    STACK = 12


class Group(IntEnum):
    """The kinds of groups that paths start from."""

    MODULE = 32
    MAIN_THREAD = 33
    THREAD = 34
    GREENLET = 35
    INTERPRETER = 36
    C = 37
    SHARED = 38
    TYPES = 39
    UNEXPLAINED = 40
    UNREACHABLE = 41
    OWN = 42


_GROUP_TEXT = {
    Group.MAIN_THREAD: "main thread",
    Group.THREAD: "thread",
    Group.GREENLET: "greenlet",
    Group.INTERPRETER: "interpreter",
    Group.C: "C",
    Group.SHARED: "interned",
    Group.TYPES: "type system",
    Group.UNEXPLAINED: "C roots",
    Group.UNREACHABLE: "unreachable",
    Group.OWN: "liveheap",
}
_GROUP_OF_ROOT: dict[int, Group] = {
    RootKind.GREENLET: Group.GREENLET,
    RootKind.INTERPRETER: Group.INTERPRETER,
    RootKind.INTERNED: Group.SHARED,
    RootKind.C: Group.C,
}
_LEFTOVERS = (Group.SHARED, Group.TYPES, Group.UNEXPLAINED, Group.UNREACHABLE)


class _Class(IntEnum):
    """Preference among roots: a later class claims only what no earlier one reached."""

    APPLICATION_MODULES = 1
    APPLICATION_FRAMES = 2
    LIBRARY_MODULES = 3
    LIBRARY_FRAMES = 4
    INTERNED = 5
    INTERPRETER = 6
    OWN = 7


class PathNodes:
    """The path nodes of one graph, as columns; number i < n_groups is group i."""

    def __init__(self, graph: HeapGraph, plan: _Plan, **caps: int) -> None:
        raw = plan.search(**caps)
        self.graph = graph
        self.truncated = raw.truncated
        self.parent = column(raw, "parent", np.int32)
        self.label_kind = column(raw, "label_kind", np.uint8)
        self.label_name = column(raw, "label_name", np.uint32)
        self.type = column(raw, "type", np.uint32)
        self.code = column(raw, "code", np.int32)
        self.depth = column(raw, "depth", np.uint16)
        self.group = column(raw, "group", np.uint32)
        self.key = column(raw, "key", np.uint64)
        self.count = column(raw, "count", np.uint64)
        self.bytes = column(raw, "bytes", np.uint64)
        self.length = column(raw, "length", np.uint64)
        self.max_length = column(raw, "max_length", np.uint64)
        self.example = column(raw, "example", np.int32)
        self.node_path = column(raw, "node_path", np.int32)
        self.parent_edge = column(raw, "parent_edge", np.uint32)

    @classmethod
    def of(
        cls,
        graph: HeapGraph,
        *,
        max_depth: int = MAX_DEPTH,
        max_nodes: int = MAX_NODES,
    ) -> PathNodes:
        """Search a graph and merge its paths."""
        return cls(graph, _Plan(graph), max_depth=max_depth, max_nodes=max_nodes)

    def __len__(self) -> int:
        return len(self.parent)

    @property
    def hidden(self) -> NDArray[np.bool_]:
        """Which path nodes are liveheap's own."""
        own: NDArray[np.bool_] = self.label_kind[self.group] == Group.OWN
        return own

    @property
    def garbage(self) -> NDArray[np.bool_]:
        """Which path nodes are cycles that nothing refers to."""
        garbage: NDArray[np.bool_] = self.label_kind[self.group] == Group.UNREACHABLE
        return garbage

    def own_objects(self) -> NDArray[np.bool_] | None:
        """Return a mask of the objects that only liveheap holds; None if none."""
        hidden = self.hidden
        if not (self.count[hidden] > 0).any():
            return None
        own: NDArray[np.bool_] = hidden[self.node_path]
        return own

    def text(self, path: int) -> str:
        """Return a path as one line, its type at the end."""
        text = self._group_text(path)
        ends_with_type = False
        for step in self._steps(path):
            piece, ends_with_type = self._piece(step)
            text += piece
        kind = self.graph.type_name(int(self.type[path]))
        named = ends_with_type or self.type[path] == 0 or self.parent[path] < 0
        return text if named else f"{text} -> {kind}"

    def retaining_path(self, node: int) -> list[str]:
        """Return how one object is held, from its root down, a line a step."""
        chain = []
        while (edge := int(self.parent_edge[node])) != NO_EDGE:
            source = self.graph.source(edge)
            if self.graph.root_of(source) is not None:
                break
            chain.append((node, edge))
            node = source
        lines = [self._first_line(node)]
        for target, edge in reversed(chain):
            line = self._step_line(target, edge)
            if line:
                lines.append(line)
        return lines

    @staticmethod
    def root_label(root: Root) -> str:
        """Return what a root is called."""
        if root.own:
            return _GROUP_TEXT[Group.OWN]
        if root.kind == RootKind.THREAD:
            return f'thread "{root.name}"' if root.name else "thread"
        return _GROUP_TEXT[_GROUP_OF_ROOT.get(root.kind, Group.C)]

    def _steps(self, path: int) -> Iterator[int]:
        """Yield the path nodes from below the group down to `path`."""
        steps = []
        while self.parent[path] >= 0:
            steps.append(path)
            path = int(self.parent[path])
        return reversed(steps)

    def _group_text(self, path: int) -> str:
        group = int(self.group[path])
        kind = int(self.label_kind[group])
        if kind == Group.MODULE:
            return self.graph.name(int(self.label_name[group])) or "(unnamed module)"
        if kind == Label.DEEP:
            return "(beyond the cap)"
        return _GROUP_TEXT[Group(kind)]

    def _piece(self, step: int) -> tuple[str, bool]:
        """Return what a step adds to the text, and whether that names its type."""
        label = Label(int(self.label_kind[step]))
        name = self.graph.name(int(self.label_name[step]))
        kind = self.graph.type_name(int(self.type[step]))
        frame = self.graph.frames.get(int(self.example[step]))
        if label is Label.FRAME:
            return f" -> {frame.text() if frame else kind}", True
        if label is Label.ROOT and not name:
            return f" -> {kind}", True
        spaced = self.label_kind[self.parent[step]] in (Label.LOCAL, Label.CELL)
        text = label_text(label, name, spaced=spaced)
        if frame is not None and label is not Label.DEEP:
            return f"{text} -> {kind} {frame.text()}", True
        return text, False

    def _first_line(self, node: int) -> str:
        path = int(self.node_path[node])
        group = self._group_text(path)
        if self.parent[path] < 0:
            return f"module {group}"
        kind = self.graph.type_name(int(self.graph.type[node]))
        frame = self.graph.frames.get(node)
        if frame is not None:
            return f"{self._root_text(node, group)} -> {frame.text(full=True)}"
        name = ""
        edge = int(self.parent_edge[node])
        if edge != NO_EDGE:
            name = self.graph.name(int(self.graph.edge_name[edge]))
        return f"{self._root_text(node, group)}{'.' if name else ''}{name} -> {kind}"

    def _root_text(self, node: int, group: str) -> str:
        """Return the group's text with which thread or greenlet it is."""
        edge = int(self.parent_edge[node])
        root = None if edge == NO_EDGE else self.graph.root_of(self.graph.source(edge))
        if root is None or root.kind not in (RootKind.THREAD, RootKind.GREENLET):
            return group
        if root.kind == RootKind.THREAD and root.name:
            return f'thread "{root.name}"'
        return f"{group} {root.number}"

    def _step_line(self, node: int, edge: int) -> str:
        """Return one step below the root; empty if it is a detail of Python."""
        graph = self.graph
        name = graph.name(int(graph.edge_name[edge]))
        source = graph.source(edge)
        label = edge_label(graph, edge)
        if label is Label.INTERNAL and name in _ELIDED:
            if name != "cell_contents":
                return ""
            return f"holds {graph.type_name(int(graph.type[node]))}"
        text = label_text(label, name).strip()
        if label is Label.CELL:
            text = f"{text} of {_function_name(graph, source, self.parent_edge)}"
        frame = graph.frames.get(node)
        place = "" if frame is None else f" {frame.text(full=True)}"
        return f"{text} -> {graph.type_name(int(graph.type[node]))}{place}"


class _Plan:
    """Groups and entries for the C search."""

    def __init__(self, graph: HeapGraph) -> None:
        self._graph = graph
        self._groups: dict[tuple[int, int], int] = {}
        self._entries: list[NDArray[np.uint32]] = []
        self._application_files = application_files(graph.modules)
        self._add_modules()
        for root in graph.roots:
            self._add_root(root)

    def search(self, *, max_depth: int, max_nodes: int) -> _graph.Paths:
        """Run the search."""
        leftovers = [self._group(kind) for kind in _LEFTOVERS]
        entries = np.concatenate(self._entries or [np.zeros((0, 4), np.uint32)])
        order = np.argsort(entries[:, 3], kind="stable")
        groups = np.array([*self._groups] or [(0, 0)], np.uint32)
        return self._graph.raw.search(
            groups.tobytes(),
            entries[order].tobytes(),
            (leftovers[0], leftovers[1], leftovers[2], leftovers[3]),
            max_depth,
            max_nodes,
        )

    def _group(self, kind: Group, name: int = 0) -> int:
        return self._groups.setdefault((int(kind), name), len(self._groups))

    def _add(
        self,
        nodes: NDArray[np.int32],
        edges: NDArray[np.uint32] | int,
        group: int,
        class_: int | list[int],
    ) -> None:
        block = np.empty((len(nodes), 4), np.uint32)
        block[:, 0] = nodes
        block[:, 1] = edges
        block[:, 2] = group
        block[:, 3] = class_
        self._entries.append(block)

    def _add_modules(self) -> None:
        modules = self._graph.modules
        for module, party in zip(modules, parties(modules), strict=True):
            group = self._group(Group.MODULE, module.name_id)
            class_ = _Class.APPLICATION_MODULES
            if party is Party.LIBRARY:
                class_ = _Class.LIBRARY_MODULES
            elif party is Party.OWN:
                group, class_ = self._group(Group.OWN), _Class.OWN
            self._add(np.array([module.node], np.int32), NO_EDGE, group, class_)

    def _add_root(self, root: Root) -> None:
        graph = self._graph
        first, end = int(graph.row[root.node]), int(graph.row[root.node + 1])
        edges = np.arange(first, end, dtype=np.uint32)
        targets = graph.target[first:end]
        group, class_ = self._place_of(root)
        if root.kind in (RootKind.THREAD, RootKind.GREENLET) and not root.own:
            classes = [self._class_of(int(target)) for target in targets]
            self._add(targets, edges, group, classes)
        else:
            self._add(targets, edges, group, class_)

    def _place_of(self, root: Root) -> tuple[int, int]:
        if root.own:
            return self._group(Group.OWN), _Class.OWN
        if root.kind == RootKind.THREAD:
            main = root.flags & RootFlag.MAIN_THREAD
            kind = Group.MAIN_THREAD if main else Group.THREAD
            return self._group(kind), _Class.LIBRARY_FRAMES
        if root.kind == RootKind.GREENLET:
            return self._group(Group.GREENLET), _Class.LIBRARY_FRAMES
        if root.kind == RootKind.INTERNED:
            return self._group(Group.SHARED), _Class.INTERNED
        if root.kind == RootKind.INTERPRETER:
            return self._group(Group.INTERPRETER), _Class.INTERPRETER
        return self._group(Group.C), _Class.INTERPRETER

    def _class_of(self, node: int) -> int:
        """Return the class of what a thread or greenlet refers to."""
        frame = self._graph.frames.get(node)
        if frame is None or frame.code is None:
            return _Class.LIBRARY_FRAMES
        filename = frame.code.filename
        if filename in self._application_files or not is_library_file(filename):
            return _Class.APPLICATION_FRAMES
        return _Class.LIBRARY_FRAMES


def label_text(label: Label, name: str, *, spaced: bool = False) -> str:  # noqa: PLR0911
    """Return a label as it stands in a path; `spaced` if a quoted name precedes."""
    # One line a label: a table would hide that four of them use the name differently.
    match label:
        case Label.ATTRIBUTE | Label.ROOT:
            return f".{name}"
        case Label.INTERNAL:
            return "" if name in _ELIDED else f".{name or '__code__'}"
        case Label.KEYED:
            return f"[{name!r}]"
        case Label.LOCAL:
            return f' local "{name or "?"}"'
        case Label.CELL:
            return f' closure "{name or "?"}"'
        case Label.DEEP:
            return " (deep)"
        case Label.KEY:
            return " {key}" if spaced else "{key}"
        case Label.ITEM:
            return " [*]" if spaced else "[*]"
        case Label.STACK:
            return " stack"
        case _:
            return ".<C field>"


_LABEL_OF_KIND = {
    EdgeKind.ATTRIBUTE: Label.ATTRIBUTE,
    EdgeKind.SLOT: Label.ATTRIBUTE,
    EdgeKind.INTERNAL: Label.INTERNAL,
    EdgeKind.CODE: Label.INTERNAL,
    EdgeKind.ITEM: Label.ITEM,
    EdgeKind.KEY: Label.KEY,
    EdgeKind.LOCAL: Label.LOCAL,
    EdgeKind.BORROWED: Label.LOCAL,
    EdgeKind.CELL: Label.CELL,
    EdgeKind.ROOT: Label.ROOT,
    EdgeKind.UNNAMED: Label.UNNAMED,
    EdgeKind.STACK: Label.STACK,
}


def edge_label(graph: HeapGraph, edge: int) -> Label:
    """Return what an edge is called in a path."""
    kind = EdgeKind(int(graph.edge_kind[edge]) & 0x7F)
    if kind is not EdgeKind.VALUE:
        return _LABEL_OF_KIND[kind]
    if graph.edge_name[edge] == 0:
        return Label.ITEM
    folded = graph.flags[graph.source(edge)] & (NodeFlag.FOLDED | NodeFlag.NAMESPACE)
    return Label.ATTRIBUTE if folded else Label.KEYED


def _function_name(
    graph: HeapGraph, closure: int, parent_edge: NDArray[np.uint32]
) -> str:
    """Return the name of the function that a closure tuple was reached from."""
    edge = int(parent_edge[closure])
    if edge == NO_EDGE:
        return "a function"
    function = graph.source(edge)
    for index in range(int(graph.row[function]), int(graph.row[function + 1])):
        code = graph.code_by_node.get(int(graph.target[index]))
        if code is not None:
            return f"{code.qualname}() at {code.filename}:{code.first_line}"
    return "a function"
