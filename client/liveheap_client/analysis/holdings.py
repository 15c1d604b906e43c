"""What a heap consists of: the dominator tree, merged by path, bounded.

What a node of the dominator tree bears hangs on it alone: were it gone, all of that
would go. The tree of a real heap has millions of nodes, most of them alike, so siblings
that the same path leads to are one holding: the seven thousand rows of a list, not
seven thousand entries. A node that repeats its dominator's path (the next link of a
list, the `__dict__` of an object) belongs to that one's holding.

Objects that several holders share hang below none of them; they stand beside the
holders, by the shortest path that leads to them. So the holdings of a level never
overlap and all tips add up to the heap. Only what weighs at least `share` of the whole
is told; what is lighter is one number beside its siblings.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liveheap.snapshot.format import Tag
from liveheap_client.analysis.dominators import SUPER_ROOT
from liveheap_client.analysis.paths import PathNodes

MOST_HOLDINGS = 600
LEAST_SHARE = 0.002
DEEPEST = 24


@dataclass(slots=True)
class Holding:
    """Objects that one path leads to, with all they retain.

    `text` is their whole path, `label` what it adds to the one above; `count` are the
    objects, `own` their bytes, `bytes` what would go with them; `lighter` are the
    bytes, and `n_lighter` the number, of holdings below that are not told.
    """

    label: str
    text: str
    type: str
    count: int
    own: int
    bytes: int
    lighter: int = 0
    n_lighter: int = 0
    children: list[Holding] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the tree as plain data."""
        return {
            "label": self.label,
            "text": self.text,
            "type": self.type,
            "count": self.count,
            "own": self.own,
            "bytes": self.bytes,
            "lighter": self.lighter,
            "n_lighter": self.n_lighter,
            "children": [child.to_json() for child in self.children],
        }


def holdings(
    paths: PathNodes,
    *,
    most: int = MOST_HOLDINGS,
    share: float = LEAST_SHARE,
    deepest: int = DEEPEST,
) -> Holding:
    """Return what a heap consists of, the heaviest first."""
    folded = _Folded(paths)
    top = folded.below_super_root()
    total = int(folded.retained[top].sum())
    whole = Holding("heap", "all objects", "", 0, 0, total)
    least = max(1, int(total * share))
    n_told = 1
    queue = deque([(whole, top, 0)])
    while queue:
        above, below, depth = queue.popleft()
        groups = sorted(folded.groups(below), key=lambda g: (-g.bytes, g.path))
        told = [] if depth >= deepest else groups[: most - n_told]
        told = [group for group in told if group.bytes >= least]
        n_told += len(told)
        above.n_lighter = len(groups) - len(told)
        above.lighter = sum(group.bytes for group in groups[len(told) :])
        for group in told:
            child = _holding(paths, folded, group, above)
            above.children.append(child)
            queue.append((child, folded.children(group.nodes), depth + 1))
    return whole


@dataclass(frozen=True, slots=True)
class _Group:
    """Siblings of one path."""

    path: int
    nodes: NDArray[np.intp]
    bytes: int


class _Folded:
    """The dominator tree, in which what repeats its dominator's path is part of it."""

    def __init__(self, paths: PathNodes) -> None:
        graph = paths.graph
        dominators = graph.dominators
        objects = graph.record != Tag.ROOT
        idom = dominators.idom.astype(np.intp)
        # A root is where paths start and no object: what it bears stands on top.
        idom[~objects[idom]] = SUPER_ROOT
        self._path = paths.node_path
        self._hidden = paths.hidden
        self._top = np.flatnonzero((idom == SUPER_ROOT) & objects)
        self.retained = dominators.retained
        nodes = np.arange(graph.n_nodes)
        inner = idom != SUPER_ROOT
        folds = inner & (self._path[idom] == self._path)
        folds |= inner & dominators.parts
        head = np.where(folds, idom, nodes)
        while True:
            further = head[head]
            if np.array_equal(further, head):
                break
            head = further
        self.count = np.bincount(head[objects & ~dominators.parts], minlength=len(head))
        self.own = np.bincount(head, weights=graph.size, minlength=len(head))
        self._heads = np.flatnonzero(~folds & inner)
        above = head[idom[self._heads]]
        order = np.argsort(above, kind="stable")
        self._heads = self._heads[order]
        self._row = np.searchsorted(above[order], np.arange(graph.n_nodes + 1))

    def below_super_root(self) -> NDArray[np.intp]:
        """Return the nodes that nothing dominates, but for liveheap's own."""
        return self._top[~self._hidden[self._path[self._top]]]

    def children(self, nodes: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return what some nodes dominate, each with what is folded into it."""
        begin = self._row[nodes]
        length = self._row[nodes + 1] - begin
        skipped = np.repeat(np.cumsum(length) - length, length)
        places = np.repeat(begin, length) + np.arange(int(length.sum())) - skipped
        children: NDArray[np.intp] = self._heads[places]
        return children

    def groups(self, nodes: NDArray[np.intp]) -> Iterator[_Group]:
        """Yield siblings by their path."""
        nodes = nodes[np.argsort(self._path[nodes], kind="stable")]
        paths, first = np.unique(self._path[nodes], return_index=True)
        if not len(nodes):
            return
        sizes = np.add.reduceat(self.retained[nodes], first)
        bounds = [*map(int, first), len(nodes)]
        for place, path in enumerate(paths):
            members = nodes[bounds[place] : bounds[place + 1]]
            yield _Group(int(path), members, int(sizes[place]))


def _holding(
    paths: PathNodes, folded: _Folded, group: _Group, above: Holding
) -> Holding:
    path = group.path
    text = paths.text(path)
    kind = paths.graph.type_name(int(paths.type[path]))
    bare = text.removesuffix(f" -> {kind}")
    label = bare.removeprefix(above.text.removesuffix(f" -> {above.type}")).strip()
    return Holding(
        label=label.removeprefix("-> ") or kind,
        text=text,
        type=kind if paths.parent[path] >= 0 else "",
        count=int(folded.count[group.nodes].sum()),
        own=int(folded.own[group.nodes].sum()),
        bytes=group.bytes,
    )
