"""The dominator tree for a person: bounded, with what is alike on one line.

The thousand rows that one list retains are one line with their number and what they
retain together; below it stands what all of them retain, merged likewise. What the
width or the least size left out of a node's children is told: how many kinds, and what
they retain. A node's line says how its dominator refers to it, if it does so itself; if
several things below the dominator share it, it says `shared`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liveheap_client.analysis.accumulation import (
    accumulation_point,
    candidates,
    topmost,
)
from liveheap_client.analysis.dominators import SUPER_ROOT
from liveheap_client.analysis.filters import Filter
from liveheap_client.analysis.graph import Node, NodeFlag
from liveheap_client.analysis.paths import PathNodes
from liveheap_client.analysis.plan import NO_EDGE
from liveheap_client.analysis.steps import edge_text, object_text, sources, spans

MOST_NODES = 5_000
MOST_POINTS = 5
LEAST_SHARE = 0.005

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(slots=True)
class Retainer:
    """Objects alike, and what they retain: `share` is of the heap, in percent.

    `address` is that of a single object; `more` kinds below, which retain `more_bytes`,
    were left out.
    """

    label: str
    type: str
    count: int
    retained: int
    share: float
    address: int | None = None
    more: int = 0
    more_bytes: int = 0
    children: list[Retainer] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return plain data; the depth is bounded by whoever built it."""
        own = {name: getattr(self, name) for name in _FIELDS}
        return {**own, "children": [child.to_json() for child in self.children]}


_FIELDS = (
    "label",
    "type",
    "count",
    "retained",
    "share",
    "address",
    "more",
    "more_bytes",
)


def tree(paths: PathNodes, kept: Filter, *, depth: int, width: int) -> Retainer:
    """Return the tree; of the types that `kept` names, if it names any."""
    graph = paths.graph
    least = kept.min_size
    if least is None:
        least = int(LEAST_SHARE * graph.dominators.total)
    return _Grower(paths, least, width).grow(kept, depth)


def accumulation_points(paths: PathNodes) -> list[Retainer]:
    """Return where much of the heap gathers, the largest first."""
    graph = paths.graph
    found = graph.dominators
    kinds = graph.class_of_type[graph.type]
    singles, _ = candidates(found, kinds)
    grower = _Grower(paths, 0, 0)
    shown = [node for node in singles if not grower.is_hidden(node)]
    points = dict.fromkeys(accumulation_point(found, node) for node in shown)
    return [grower.point(node) for node in [*points][:MOST_POINTS]]


class _Grower:
    def __init__(self, paths: PathNodes, min_size: int, width: int) -> None:
        self._paths = paths
        self._graph = paths.graph
        self._tree = self._graph.dominators
        self._hidden = self._paths.own_objects()
        self._min_size = min_size
        self._width = width
        self._total = max(self._tree.total, 1)
        self._made = 0

    def is_hidden(self, node: int) -> bool:
        """Tell whether a node is liveheap's own."""
        root = self._graph.root_of(node)
        if root is not None:
            return root.own
        return self._hidden is not None and bool(self._hidden[node])

    def point(self, node: int) -> Retainer:
        """Return one object by its whole path."""
        made = self._retainer(self._path_text(node), np.array([node]))
        made.more = len(self._tree.children(node))
        return made

    def grow(self, kept: Filter, depth: int) -> Retainer:
        """Return the tree over everything, or over the types that are kept."""
        graph = self._graph
        top = Retainer("heap", "", graph.facts["nodes"], self._tree.total, 100.0)
        if kept.by_type:
            members = topmost(self._tree, kept.nodes(graph))
            top.label = "of the types asked for"
            top.count = len(members)
            top.retained = int(self._tree.retained[members].sum())
            top.share = 100 * top.retained / self._total
        else:
            members = self._below(np.array([SUPER_ROOT]))
        level = [(top, members, True)]
        for _ in range(depth):
            following: list[tuple[Retainer, NDArray[np.intp], bool]] = []
            for node, children, first in level:
                for child, nodes in self._children(node, children, by_path=first):
                    following.append((child, self._below(nodes), False))
            level = following
        return top

    def _below(self, nodes: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return what nodes immediately dominate, without parts and our own."""
        row, child = self._tree.rows
        children = child[spans(row, nodes + 1)].astype(np.intp)
        parts = self._graph.flags[children] & NodeFlag.FOLDED != 0
        children = children[~parts | (self._tree.idom[children] == SUPER_ROOT)]
        if self._hidden is not None:
            children = children[~self._hidden[children]]
        own = [root.node for root in self._graph.roots if root.own]
        if own:
            children = children[~np.isin(children, own)]
        below: NDArray[np.intp] = children
        return below

    def _children(
        self, node: Retainer, members: NDArray[np.intp], *, by_path: bool
    ) -> list[tuple[Retainer, NDArray[np.intp]]]:
        """Add the largest groups among `members` to a node; return them."""
        groups = self._groups(members, by_path=by_path)
        room = min(self._width, MOST_NODES - self._made)
        made = []
        for nodes, retained in groups[: max(room, 0)]:
            if retained < self._min_size:
                break
            made.append((self._retainer(self._label(nodes, by_path), nodes), nodes))
        node.children = [child for child, _ in made]
        node.more = len(groups) - len(made)
        node.more_bytes = sum(retained for _, retained in groups[len(made) :])
        self._made += len(made)
        return made

    def _groups(
        self, members: NDArray[np.intp], *, by_path: bool
    ) -> list[tuple[NDArray[np.intp], int]]:
        """Return members that are alike, with what they retain, the most first."""
        if not len(members):
            return []
        keys = self._path_keys(members) if by_path else self._edge_keys(members)
        _, place = np.unique(keys, return_inverse=True)
        order = np.argsort(place, kind="stable")
        bounds = np.flatnonzero(np.diff(place[order])) + 1
        groups = np.split(members[order], bounds)
        sums = [int(self._tree.retained[group].sum()) for group in groups]
        ranked = sorted(zip(sums, groups, strict=True), key=lambda g: (-g[0], g[1][0]))
        return [(group, retained) for retained, group in ranked]

    def _path_keys(self, members: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return path nodes; roots, which are on none, stand each for themselves."""
        keys = self._paths.node_path[members].astype(np.int64)
        return np.where(keys < 0, -1 - members, keys)

    def _edge_keys(self, members: NDArray[np.intp]) -> NDArray[np.uint64]:
        """Return what tells members apart: how they are held, and their type."""
        graph = self._graph
        edges = self._edges(members)
        direct = edges != NO_EDGE
        known = np.where(direct, edges, 0)
        keys = graph.class_of_type[graph.type[members]].astype(np.uint64)
        if len(graph.target):
            for column in (graph.edge_kind, graph.edge_name):
                part = np.where(direct, column[known].astype(np.uint64) + 1, 0)
                keys = (keys ^ part) * _MULTIPLIER
                keys ^= keys >> np.uint64(29)
        single = (graph.type[members] == 0) | (
            graph.flags[members] & NodeFlag.MODULE != 0
        )
        return np.where(single, members.astype(np.uint64), keys)

    def _edges(self, members: NDArray[np.intp]) -> NDArray[np.uint32]:
        """Return how each member is held by its dominator itself, else NO_EDGE."""
        graph, idom = self._graph, self._tree.idom
        edges: NDArray[np.uint32] = self._paths.parent_edge[members]
        known = np.flatnonzero(edges != NO_EDGE)
        holders = sources(graph, edges[known])
        parts = graph.flags[holders] & NodeFlag.FOLDED != 0
        holders = np.where(parts, idom[holders], holders)
        edges[known[holders != idom[members[known]]]] = NO_EDGE
        return edges

    def _label(self, nodes: NDArray[np.intp], by_path: bool) -> str:
        node = int(nodes[0])
        if by_path:
            return self._path_text(node)
        edge = int(self._edges(nodes[:1])[0])
        text = object_text(self._graph, node)
        held = "shared" if edge == NO_EDGE else edge_text(self._graph, edge)
        return f"{held} -> {text}" if held else text

    def _path_text(self, node: int) -> str:
        path = int(self._paths.node_path[node])
        module = self._graph.flags[node] & NodeFlag.MODULE
        return (
            object_text(self._graph, node)
            if path < 0 or module
            else self._paths.text(path)
        )

    def _retainer(self, label: str, nodes: NDArray[np.intp]) -> Retainer:
        graph, node = self._graph, int(nodes[0])
        retained = int(self._tree.retained[nodes].sum())
        single = len(nodes) == 1 and graph.root_of(node) is None
        return Retainer(
            label,
            graph.type_name(int(graph.type[node])),
            len(nodes),
            retained,
            100 * retained / self._total,
            Node(graph, node).address if single else None,
        )
