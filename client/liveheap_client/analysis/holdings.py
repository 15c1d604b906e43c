"""What a heap consists of, by who holds it: a tree of merged path nodes, bounded.

Each holding is one path node with all below it: the module, its attribute, the
container, its rows. An object counts once, at the shortest path that reaches it, so the
children of a holding never weigh more than it does, and the tree's tips add up to the
heap. Only what weighs at least `share` of the whole is told; what is lighter is one
number beside its siblings.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liveheap_client.analysis.paths import PathNodes

MOST_HOLDINGS = 600
LEAST_SHARE = 0.002
DEEPEST = 24


@dataclass(slots=True)
class Holding:
    """A path node and all below it.

    `text` is its whole path, `label` what it adds to its parent's; `count` are its own
    objects, `own` their bytes, `bytes` those of all below it too; `lighter` are the
    bytes, and `n_lighter` the number, of children that are not told.
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
    """Return what all of a graph's paths hold, the heaviest first."""
    total = totals(paths)
    row, order = _children(paths)
    top = np.flatnonzero((paths.parent < 0) & ~paths.hidden)
    whole = Holding("heap", "all objects", "", 0, 0, int(total[top].sum()))
    least = max(1, int(whole.bytes * share))
    n_told = 1
    queue = deque([(whole, top, 0)])
    while queue:
        holding, below, depth = queue.popleft()
        below = below[np.lexsort((below, -total[below].astype(np.int64)))]
        told = below[total[below] >= least][: most - n_told]
        if depth >= deepest:
            told = told[:0]
        n_told += len(told)
        holding.n_lighter = len(below) - len(told)
        holding.lighter = int(total[below].sum() - total[told].sum())
        for path in map(int, told):
            child = _holding(paths, path, holding, int(total[path]))
            holding.children.append(child)
            queue.append((child, order[row[path] : row[path + 1]], depth + 1))
    return whole


def totals(paths: PathNodes) -> NDArray[np.int64]:
    """Return the bytes of each path node and of all below it."""
    total = paths.bytes.astype(np.int64)
    for depth in range(int(paths.depth.max(initial=0)), 0, -1):
        level = np.flatnonzero(paths.depth == depth)
        np.add.at(total, paths.parent[level], total[level])
    return total


def _children(paths: PathNodes) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """Return path nodes by parent, as rows of one array."""
    order = np.argsort(paths.parent, kind="stable")
    numbers = np.arange(len(paths) + 1, dtype=paths.parent.dtype)
    row = np.searchsorted(paths.parent[order], numbers)
    return row.astype(np.int64), order


def _holding(paths: PathNodes, path: int, above: Holding, total: int) -> Holding:
    text = paths.text(path)
    kind = paths.graph.type_name(int(paths.type[path]))
    whole, bare = above.text, text.removesuffix(f" -> {kind}")
    label = bare.removeprefix(whole.removesuffix(f" -> {above.type}")).strip()
    return Holding(
        label=label.removeprefix("-> ") or kind,
        text=text,
        type=kind if paths.parent[path] >= 0 else "",
        count=int(paths.count[path]),
        own=int(paths.bytes[path]),
        bytes=total,
    )
