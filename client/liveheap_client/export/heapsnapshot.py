"""`.heapsnapshot`, for the Memory panel of Chrome's DevTools and for memlab.

The mapping, in the words of their format:

- an instance or a container is an `object` named by its type; a type, function, code
  object, str or bytes, number is what V8 calls shape, closure, code, string, number;
  a frame, a suspended generator, a weak reference is `native`;
- an attribute, slot, local or named dict value is a `property`; an item and any other
  value an `element`; a cell `context`; a part of the interpreter `internal`;
- a reference that does not own is `weak`: the one predicate (csrc/resolve.h) holds
  here as well, so DevTools finds our retained sizes;
- above everything stand `(GC roots)` and one synthetic node for each kind of root.
  Whatever nobody refers to hangs off the kind that the search gave it: DevTools would
  else hang it off the root by a rule of its own.

A str goes out as `str[117]`, 117 being the bytes that it has more than an empty one.
Ids are those of stable_ids.py, and the file says that they are approximate.

DevTools needs a second for each 100,000 objects and cannot load what is much above
half a gigabyte. Of a larger heap the objects that retain most go out, MOST_NODES of
them, and outline.py says what becomes of the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from liveheap_client.analysis.graph import HeapGraph, NodeFlag
from liveheap_client.analysis.labels import (
    GROUP_TEXT,
    Group,
    Label,
    root_label,
)
from liveheap_client.analysis.paths import PathNodes
from liveheap_client.export.base import TRUNCATED, Tell, Written
from liveheap_client.export.heapsnapshot_file import (
    MOST_SIZE,
    NODE_FIELDS,
    Contents,
    EdgeType,
    NodeKind,
    Strings,
    write,
)
from liveheap_client.export.heapsnapshot_names import EdgeNames, NodeNames
from liveheap_client.export.outline import Outline
from liveheap_client.export.stable_ids import StableIds

MOST_NODES: Final = 2_000_000

_BLOCK = 1 << 16
_TOP = 2  # nodes above the kinds of roots: "" and "(GC roots)"

_KINDS_OF_ROOTS: Final[dict[int, str]] = {
    Group.MODULE: "modules",
    Group.MAIN_THREAD: "threads",
    Group.THREAD: "threads",
    **{group: GROUP_TEXT[group] for group in GROUP_TEXT if group > Group.THREAD},
    Group.GREENLET: "greenlets",
    Label.DEEP: "deep",
}


class HeapsnapshotExporter:
    """Writes `.heapsnapshot` files whose ids agree."""

    suffix = ".heapsnapshot"
    writes_directory = False

    def __init__(self, *, most: int = MOST_NODES) -> None:
        self._ids = StableIds()
        self._most = most

    def write(self, graph: HeapGraph, place: Path, tell: Tell) -> Written:
        """Write a graph as a `.heapsnapshot`."""
        outline = Outline(graph, PathNodes.of(graph), most=self._most)
        rows = _Rows(outline, self._ids, tell)
        flags, notes = _reservations(outline)
        facts = {"liveheap": {"flags": flags, "notes": notes}}
        with place.open("w", encoding="ascii") as file:
            write(file, rows.contents(facts))
        return Written(rows.n_nodes, rows.total, rows.n_edges, flags, notes)


def _reservations(outline: Outline) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what to know of a file, as flags and as sentences."""
    found = {
        "approx-ids": "ids are approximate: in a comparison, sums by class are right"
    }
    if outline.graph.truncated:
        found["truncated"] = TRUNCATED
    if outline.n_folded:
        found["folded"] = (
            f"{outline.n_folded:,} objects are folded into those that dominate them, "
            f"{outline.n_dropped:,} more are left out: DevTools would not bear them"
        )
    return tuple(found), tuple(found.values())


class _Rows:
    """The nodes and edges of one file, made a block at a time."""

    def __init__(self, outline: Outline, ids: StableIds, tell: Tell) -> None:
        self._outline = outline
        self._graph = outline.graph
        self._tell = tell
        self._strings = Strings()
        self._heads = _Heads(outline, self._strings)
        self._names = NodeNames(outline, self._strings)
        self._ids = self._stable_ids(ids)
        self._ordinal = np.zeros(self._graph.n_nodes, np.int32)
        self._ordinal[outline.nodes] = np.arange(
            len(self._heads), len(self._heads) + len(outline.nodes), dtype=np.int32
        )
        self.n_nodes = len(self._heads) + len(outline.nodes)
        self.n_edges = self._heads.n_edges + len(outline.edges)
        self.total = int(outline.size[outline.nodes].sum())

    def contents(self, facts: dict[str, Any]) -> Contents:
        """Return what goes into the file."""
        unseen = (self._graph.rss or 0) - self.total
        if unseen > 0:
            facts = {**facts, "extra_native_bytes": unseen}
        return Contents(
            n_nodes=self.n_nodes,
            n_edges=self.n_edges,
            nodes=self._node_blocks(),
            edges=self._edge_blocks(),
            strings=self._strings,
            facts=facts,
        )

    def _stable_ids(self, ids: StableIds) -> NDArray[np.uint32]:
        outline, paths = self._outline, self._outline.paths
        path = paths.node_path[outline.nodes]
        # A root has no path; its kind is what it has in common with others.
        key = np.where(path < 0, np.uint64(1), paths.key[path])
        for root in self._graph.roots:
            place = np.searchsorted(outline.nodes, np.int32(root.node))
            if place < len(key) and outline.nodes[place] == root.node:
                key[place] = root.kind
        return ids.of(key, outline.size[outline.nodes])

    def _node_blocks(self) -> Iterator[NDArray[np.int64]]:
        yield self._heads.node_rows()
        outline = self._outline
        for begin in range(0, len(outline.nodes), _BLOCK):
            self._tell("writing objects", begin, len(outline.nodes))
            nodes = outline.nodes[begin : begin + _BLOCK]
            rows = np.zeros((len(nodes), NODE_FIELDS), np.int64)
            rows[:, 0] = self._names.kind[nodes]
            rows[:, 1] = self._names.name[nodes]
            rows[:, 2] = self._ids[begin : begin + _BLOCK]
            rows[:, 3] = np.minimum(outline.size[nodes], np.uint64(MOST_SIZE))
            rows[:, 4] = outline.n_edges_of[nodes]
            yield rows

    def _edge_blocks(self) -> Iterator[NDArray[np.int64]]:
        yield self._heads.edge_rows(self._ordinal)
        names = EdgeNames(self._graph, self._strings)
        edges = self._outline.edges
        for begin in range(0, len(edges), _BLOCK):
            self._tell("writing references", begin, len(edges))
            block = edges[begin : begin + _BLOCK]
            target = self._outline.whole[self._graph.target[block]]
            rows = names.rows(block)
            rows[:, 2] = self._ordinal[target].astype(np.int64) * NODE_FIELDS
            yield rows


class _Heads:
    """The synthetic nodes above all others, and what they refer to."""

    def __init__(self, outline: Outline, strings: Strings) -> None:
        self._strings = strings
        self._graph = outline.graph
        self._members = _by_kind_of_root(outline)

    def __len__(self) -> int:
        return _TOP + len(self._members)

    @property
    def n_edges(self) -> int:
        """References of these nodes."""
        below = sum(len(members) for members in self._members.values())
        return 1 + len(self._members) + below

    def node_rows(self) -> NDArray[np.int64]:
        """Return the rows of these nodes."""
        rows = np.zeros((len(self), NODE_FIELDS), np.int64)
        rows[:, 0] = NodeKind.SYNTHETIC
        names = ["", "(GC roots)", *(f"({text})" for text in self._members)]
        rows[:, 1] = [self._strings.number(name) for name in names]
        # The number of a kind of root must not depend on which others there are.
        kinds = list(dict.fromkeys(_KINDS_OF_ROOTS.values()))
        numbers = [0, 1, *(_TOP + kinds.index(text) for text in self._members)]
        rows[:, 2] = [2 * number + 1 for number in numbers]
        counts = [len(members) for members in self._members.values()]
        rows[:, 4] = [1, len(self._members), *counts]
        return rows

    def edge_rows(self, ordinal: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the rows of their references."""
        rows = [(EdgeType.ELEMENT, 1, NODE_FIELDS)]
        for place, text in enumerate(self._members, _TOP):
            name = self._strings.number(text)
            rows.append((EdgeType.INTERNAL, name, place * NODE_FIELDS))
        blocks = [np.array(rows, np.int64)]
        for members in self._members.values():
            block = np.empty((len(members), 3), np.int64)
            block[:, 0] = EdgeType.ELEMENT
            block[:, 1] = np.arange(1, len(members) + 1)
            block[:, 2] = ordinal[members].astype(np.int64) * NODE_FIELDS
            for row in np.flatnonzero(self._graph.flags[members] & NodeFlag.MODULE):
                module = self._graph.module_by_node[int(members[row])]
                block[row, :2] = EdgeType.INTERNAL, self._strings.number(module.name)
            blocks.append(block)
        return np.concatenate(blocks)


def _by_kind_of_root(outline: Outline) -> dict[str, NDArray[np.int32]]:
    """Return the nodes that nobody refers to, by what they hang off."""
    graph, paths = outline.graph, outline.paths
    starts = outline.starts
    found: dict[str, list[NDArray[np.int32]]] = {}
    groups = paths.label_kind[paths.group[paths.node_path[starts]]]
    for group in np.unique(groups):
        text = _KINDS_OF_ROOTS[int(group)]
        found.setdefault(text, []).append(starts[groups == group])
    for root in graph.roots:
        if not root.own:
            text = _kind_of_root(root_label(root))
            found.setdefault(text, []).append(np.array([root.node], np.int32))
    order = dict.fromkeys(_KINDS_OF_ROOTS.values())
    return {text: np.concatenate(found[text]) for text in order if text in found}


def _kind_of_root(label: str) -> str:
    if label.startswith("thread"):
        return "threads"
    return "greenlets" if label == "greenlet" else label
