"""Who keeps what alive: immediate dominators and retained sizes of every node.

A node dominates another if every path to that one, from wherever reachability starts,
leads through it: were it gone, the other would go too. The immediate dominator is the
nearest such node, so dominators form a tree, and what hangs below a node is exactly
what it retains. An object that two caches share hangs below neither, but from where
both come together: hence a cache may retain less than it holds.

The tree hangs from a virtual super-root, written -1, which stands for everything that
the path search starts from: roots, modules, and what nobody we know of refers to. Every
node is in the tree. A part of an object (its `__dict__`) is a leaf below its owner.

csrc/dominators.h says how it is computed, dominators_reference.py computes the same
slowly.
"""

from __future__ import annotations

from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from liveheap_client import _graph

SUPER_ROOT: Final = -1

_FOLDED = 64


class Dominators:
    """The dominator tree of a graph, as columns.

    `idom` is the immediate dominator of each node, `retained` the bytes that would go
    with it; `order` holds all nodes, each after its immediate dominator.
    """

    def __init__(
        self,
        idom: NDArray[np.int32],
        retained: NDArray[np.uint64],
        order: NDArray[np.int32],
        flags: NDArray[np.uint16],
    ) -> None:
        self.idom = idom
        self.retained = retained
        self.order = order
        self._flags = flags

    @classmethod
    def of(cls, raw: _graph.Graph) -> Dominators:
        """Compute the tree of a decoded graph."""
        idom, retained, order = raw.dominators()
        return cls(
            np.frombuffer(memoryview(idom), np.int32),
            np.frombuffer(memoryview(retained), np.uint64),
            np.frombuffer(memoryview(order), np.int32),
            np.frombuffer(memoryview(raw.column("flags")), np.uint16),
        )

    @property
    def total(self) -> int:
        """The bytes of the whole heap."""
        return int(self.retained[self.idom == SUPER_ROOT].sum())

    @property
    def parts(self) -> NDArray[np.bool_]:
        """Which nodes are parts of their owners."""
        parts: NDArray[np.bool_] = (self._flags & _FOLDED != 0) & (
            self.idom != SUPER_ROOT
        )
        return parts

    def is_part(self, node: int) -> bool:
        """Tell whether a node is a part of its owner, which counts its bytes."""
        return bool(self._flags[node] & _FOLDED) and self.idom[node] != SUPER_ROOT

    def children(self, node: int) -> NDArray[np.int32]:
        """Return what a node immediately dominates, the most retained first.

        Parts are left out: they count with the node.
        """
        row, child = self.rows
        children = child[row[node + 1] : row[node + 2]]
        children = children[(self._flags[children] & _FOLDED == 0) | (node < 0)]
        largest = np.argsort(~self.retained[children], kind="stable")
        by_size: NDArray[np.int32] = children[largest]
        return by_size

    @cached_property
    def rows(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """All nodes by their immediate dominators; row 0 is the super-root's."""
        counts = np.bincount(self.idom + 1, minlength=len(self.idom) + 1)
        row = np.zeros(len(counts) + 1, np.int64)
        np.cumsum(counts, out=row[1:])
        return row, np.argsort(self.idom, kind="stable").astype(np.int32)
