"""The dominator tree in plain Python: the same answers, forty times slower.

Tests hold the C side to it, and it serves small heaps as well. It goes by the
textbook's simplest method (Cooper, Harvey, Kennedy 2001): walk the nodes in reverse
postorder until no immediate dominator changes. That can take quadratic time, so it is
for small heaps, and it shares no step with the semidominators that it checks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from liveheap_client.analysis.dominators import SUPER_ROOT, Dominators
from liveheap_client.analysis.graph import OWNS, HeapGraph, NodeFlag
from liveheap_client.analysis.paths import PathNodes
from liveheap_client.analysis.plan import NO_EDGE


def dominators(graph: HeapGraph) -> Dominators:
    """Return the tree of a graph; `order` may differ from the C side's."""
    successors = _owned(graph)
    order, idom = immediate_dominators([*successors, entries(graph)])
    size = graph.size.tolist()
    retained = [int(n) for n in size]
    parts = (graph.flags & NodeFlag.FOLDED).tolist()
    for node in order:
        above = idom[node]
        if above != SUPER_ROOT and parts[above] and idom[above] != SUPER_ROOT:
            idom[node] = idom[above]
    for node in reversed(order):
        if idom[node] != SUPER_ROOT:
            retained[idom[node]] += retained[node]
    return Dominators(
        np.array(idom, np.int32),
        np.array(retained, np.uint64),
        np.array(order, np.int32),
        graph.flags,
    )


def immediate_dominators(
    successors: Sequence[Sequence[int]],
) -> tuple[list[int], list[int]]:
    """Return nodes in an order, and the immediate dominator of each.

    The last entry of `successors` is the super-root's; the others are nodes'.
    """
    super_root = len(successors) - 1
    postorder = _postorder(successors, super_root)
    place = {node: i for i, node in enumerate(postorder)}
    sources: list[list[int]] = [[] for _ in successors]
    for source in postorder:
        for target in successors[source]:
            sources[target].append(source)
    idom = {super_root: super_root}
    changed = True
    while changed:
        changed = False
        for node in reversed(postorder[:-1]):
            best = -1
            for source in sources[node]:
                if source in idom:
                    best = source if best < 0 else _meet(idom, place, best, source)
            if idom.get(node) != best:
                idom[node] = best
                changed = True
    found = [idom.get(node, super_root) for node in range(super_root)]
    order = [node for node in reversed(postorder) if node != super_root]
    return order, [SUPER_ROOT if node == super_root else node for node in found]


def _meet(idom: dict[int, int], place: dict[int, int], a: int, b: int) -> int:
    while a != b:
        if place[a] < place[b]:
            a = idom[a]
        else:
            b = idom[b]
    return a


def _postorder(successors: Sequence[Sequence[int]], start: int) -> list[int]:
    seen = {start}
    stack = [(start, iter(successors[start]))]
    postorder = []
    while stack:
        node, rest = stack[-1]
        fresh = next((target for target in rest if target not in seen), None)
        if fresh is None:
            postorder.append(node)
            stack.pop()
        else:
            seen.add(fresh)
            stack.append((fresh, iter(successors[fresh])))
    return postorder


def _owned(graph: HeapGraph) -> list[list[int]]:
    row, target = graph.row.tolist(), graph.target.tolist()
    owns = (graph.edge_kind & OWNS).tolist()
    return [
        [target[edge] for edge in range(row[node], row[node + 1]) if owns[edge]]
        for node in range(graph.n_nodes)
    ]


def entries(graph: HeapGraph) -> list[int]:
    """Return where reachability starts, as the path search tells it."""
    found = np.flatnonzero(PathNodes.of(graph).parent_edge == NO_EDGE)
    return [int(node) for node in found]
