"""What of a graph other tools are given, and what belongs together in it.

A dict that is some object's `__dict__` is that object: its size is added, its
references are the object's own. Objects that only liveheap holds stay out. A key that
is program text is told as the name of its value, not by a reference of its own. All
other references stay, with the predicate's word on whether they own.

Every object that stays is reached over owning references from `starts` and from the
roots: it inherits that from the search (csrc/pathnodes.h), whose tree leads through
owning references only and whose parts that get folded are followed by their owners.
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

    def __init__(self, graph: HeapGraph, paths: PathNodes) -> None:
        self.graph = graph
        self.paths = paths
        self.whole = _wholes(graph)
        self.whole[hidden_nodes(graph, paths)[self.whole]] = OUT
        stands = self.whole == np.arange(graph.n_nodes, dtype=np.int32)
        self.nodes: NDArray[np.int32] = np.flatnonzero(stands).astype(np.int32)
        self.size = graph.size.copy()
        parts = np.flatnonzero(~stands & (self.whole >= 0))
        np.add.at(self.size, self.whole[parts], graph.size[parts])
        self.edges, self.n_edges_of = self._sorted_edges()

    @property
    def starts(self) -> NDArray[np.int32]:
        """The nodes that the search began with, other than those a root refers to."""
        begun = (self.paths.parent_edge == NO_EDGE) & (self.graph.record != Tag.ROOT)
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
        edges = np.flatnonzero(stays).astype(np.uint32)
        source = source[edges]
        count = np.bincount(source, minlength=graph.n_nodes)
        return edges[np.argsort(source, kind="stable")], count


def owning(graph: HeapGraph, edges: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Return which of some edges own."""
    owns: NDArray[np.bool_] = graph.edge_kind[edges] >= OWNS
    return owns


def _wholes(graph: HeapGraph) -> NDArray[np.int32]:
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
