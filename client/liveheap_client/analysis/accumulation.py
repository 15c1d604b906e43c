"""Where memory gathers, in a dominator tree. The constants are Eclipse MAT's.

- A set of objects retains what its top-most members retain: a member below another one
  goes with that one.
- A candidate is a child of the super-root that retains more than a tenth of the heap,
  or all such children of one type if they do together.
- From a candidate down, as long as the biggest child has most of it: where that ends
  is the accumulation point, the list whose thousand rows are the leak.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from liveheap_client.analysis.dominators import SUPER_ROOT, Dominators

CANDIDATE_SHARE: Final = 0.10
DROP_SHARE: Final = 0.7
DEEPEST: Final = 1000
MOST_CLIMBS: Final = 64


def topmost(tree: Dominators, members: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the members that no other member dominates.

    The members climb; few trees are deeper than they do one by one.
    """
    nodes = np.flatnonzero(members)
    left = np.arange(len(nodes))
    above = tree.idom[nodes]
    top = np.ones(len(nodes), np.bool_)
    for _ in range(MOST_CLIMBS):
        left, above = left[above >= 0], above[above >= 0]
        if not len(left):
            return nodes[top]
        below = members[above]
        top[left[below]] = False
        left, above = left[~below], tree.idom[above[~below]]
    return _topmost_of_deep(tree, members)


def _topmost_of_deep(tree: Dominators, members: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the same of a deep tree: all nodes look twice as far up in every step.

    A list of a million links takes twenty of them.
    """
    above = np.append(tree.idom, SUPER_ROOT)
    below_one = np.append(members, False)[above]
    while (above >= 0).any():
        below_one |= below_one[above]
        above = above[above]
    return np.flatnonzero(members & ~below_one[:-1])


def candidates(
    tree: Dominators, kinds: NDArray[np.uint32]
) -> tuple[list[int], list[NDArray[np.int32]]]:
    """Return single nodes, and groups of one kind, that each retain much of the heap.

    Args:
        tree: of the heap.
        kinds: a number for each node; nodes are grouped by it.
    """
    least = CANDIDATE_SHARE * tree.total
    children = tree.children(SUPER_ROOT)
    large = tree.retained[children] > least
    rest = children[~large]
    groups = [rest[kinds[rest] == kind] for kind in np.unique(kinds[rest])]
    heavy = [group for group in groups if tree.retained[group].sum() > least]
    return [int(node) for node in children[large]], heavy


def accumulation_point(tree: Dominators, candidate: int) -> int:
    """Return where a candidate's memory stops being in one place."""
    node = candidate
    for _ in range(DEEPEST):
        children = tree.children(node)
        if not len(children):
            break
        biggest = int(children[0])
        if int(tree.retained[biggest]) < DROP_SHARE * int(tree.retained[node]):
            break
        node = biggest
    return node
