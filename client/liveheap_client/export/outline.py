"""What of a graph other tools are given, and what belongs together in it.

A dict that is some object's `__dict__` is that object: its size is added, its
references are the object's own. Objects that only liveheap holds stay out. A key that
is program text is told as the name of its value, not by a reference of its own. All
other references stay, with the predicate's word on whether they own.

A consumer may not bear all objects. Then those that retain most stay, `most` of them,
and each other one becomes a part of the nearest that dominates it: leaves go first, and
what the others retain stays right to the byte, for what dominates an object retains at
least as much. Of a part's references only those that own are told. What nothing
dominates but the roots together, and is too light, is dropped. Roots stay.

Every object that stays is reached over owning references from `starts` and from the
roots: it inherits that from the search (csrc/pathnodes.h), whose tree leads through
owning references only. Merging a part with its whole cuts no way, and what a dropped
object owns becomes a start: nothing dominates that either, or it would dominate the
dropped one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from liveheap.snapshot.format import Tag
from liveheap_client.analysis.graph import OWNS, EdgeKind, HeapGraph, NodeFlag
from liveheap_client.analysis.paths import PathNodes
from liveheap_client.analysis.plan import NO_EDGE

OUT = -1
_MOST_DOUBLINGS = 32


class Outline:
    """The nodes and references of a graph that go out, as columns.

    `whole` tells for each node of the graph the node that it is a part of (mostly
    itself), OUT if it stays out; `nodes` are those that stand for themselves; `size`
    is by node of the graph, parts included.
    """

    def __init__(
        self, graph: HeapGraph, paths: PathNodes, *, most: int | None = None
    ) -> None:
        self.graph = graph
        self.paths = paths
        self.whole = wholes(graph)
        self.whole[hidden_nodes(graph, paths)[self.whole]] = OUT
        own_nodes = np.arange(graph.n_nodes, dtype=np.int32)
        stands = self.whole == own_nodes
        self._moved = np.zeros(graph.n_nodes, np.bool_)
        if most is not None and np.count_nonzero(stands) > most:
            keeper = _keepers(graph, stands, most)
            before = self.whole
            self.whole = np.where(before >= 0, keeper[before], np.int32(OUT))
            self._moved = self.whole != before
        moved = np.flatnonzero(self._moved & stands)
        self.n_dropped = int(np.count_nonzero(self.whole[moved] == OUT))
        self.n_folded = len(moved) - self.n_dropped
        stands = self.whole == own_nodes
        self.nodes: NDArray[np.int32] = np.flatnonzero(stands).astype(np.int32)
        self.size = graph.size.copy()
        parts = np.flatnonzero(~stands & (self.whole >= 0))
        np.add.at(self.size, self.whole[parts], graph.size[parts])
        self.edges, self.n_edges_of = self._sorted_edges()

    @property
    def starts(self) -> NDArray[np.int32]:
        """The nodes that the search began with, and those that dropped ones own.

        What a root refers to is not among them.
        """
        paths, graph = self.paths, self.graph
        begun = (paths.parent_edge == NO_EDGE) & (graph.record != Tag.ROOT)
        if self.n_dropped:
            dropped = self._moved & (self.whole == OUT)
            from_dropped = np.repeat(dropped, graph.row[1:] - graph.row[:-1])
            begun[graph.target[from_dropped & (graph.edge_kind >= OWNS)]] = True
        starts: NDArray[np.int32] = self.whole[begun & (self.whole >= 0)]
        return np.unique(starts)

    def _sorted_edges(self) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """Return the edges that go out, by their sources, and how many a node has."""
        graph = self.graph
        n_edges_of = graph.row[1:] - graph.row[:-1]
        source = np.repeat(self.whole, n_edges_of)
        target = self.whole[graph.target]
        stays = (source >= 0) & (target >= 0) & (source != target) & ~_told_keys(graph)
        del target
        if self._moved.any():
            told = np.repeat(~self._moved, n_edges_of)
            stays &= told | (graph.edge_kind >= OWNS)
        edges = np.flatnonzero(stays).astype(np.uint32)
        source = source[edges]
        count = np.bincount(source, minlength=graph.n_nodes)
        return edges[np.argsort(source, kind="stable")], count


def owning(graph: HeapGraph, edges: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Return which of some edges own."""
    owns: NDArray[np.bool_] = graph.edge_kind[edges] >= OWNS
    return owns


def wholes(graph: HeapGraph) -> NDArray[np.int32]:
    """Return for each node the one that it is a part of.

    Two dicts that are each other's `__dict__` are both wholes.
    """
    whole = np.arange(graph.n_nodes, dtype=np.int32)
    parts = np.flatnonzero(graph.flags & NodeFlag.FOLDED)
    if not len(parts):
        return whole
    row, edge = graph.reverse
    owner = np.searchsorted(graph.row, edge[row[parts]], side="right") - 1
    whole[parts] = owner
    for _ in range(_MOST_DOUBLINGS):
        above = whole[whole[parts]]
        if (above == whole[parts]).all():
            return whole
        whole[parts] = above
    astray = parts[whole[whole[parts]] != whole[parts]]
    whole[astray] = astray
    return whole


def _keepers(
    graph: HeapGraph, stands: NDArray[np.bool_], most: int
) -> NDArray[np.int32]:
    """Return for each node the one that stays and dominates it, OUT if none does."""
    tree = graph.dominators
    order = tree.order[stands[tree.order]]
    weight = np.where(
        graph.record[order] == Tag.ROOT, ~np.uint64(0), tree.retained[order]
    )
    heaviest = np.argsort(~weight, kind="stable")[:most]
    keeper: NDArray[np.int32] = tree.idom.copy()
    keeper[order[heaviest]] = order[heaviest]
    # Halving the way up each time: a list of a million links is a million deep.
    while True:
        above = np.where(keeper >= 0, keeper[keeper], np.int32(OUT))
        if (above == keeper).all():
            return keeper
        keeper = above


def hidden_nodes(graph: HeapGraph, paths: PathNodes) -> NDArray[np.bool_]:
    """Return which nodes are liveheap's own, its roots included."""
    own = paths.own_objects()
    hidden = np.zeros(graph.n_nodes, np.bool_) if own is None else own.copy()
    hidden[graph.record == Tag.ROOT] = False
    hidden[[root.node for root in graph.roots if root.own]] = True
    return hidden


def _told_keys(graph: HeapGraph) -> NDArray[np.bool_]:
    """Return which edges lead to a key that the next edge has as its name."""
    kind = graph.edge_kind & (OWNS - 1)
    told = np.zeros(len(kind), np.bool_)
    told[:-1] = (
        (graph.edge_kind[:-1] == EdgeKind.KEY)
        & (kind[1:] == EdgeKind.VALUE)
        & (graph.edge_name[1:] != 0)
    )
    return told
