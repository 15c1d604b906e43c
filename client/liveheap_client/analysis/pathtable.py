"""The path nodes of several rounds side by side, and which of them are suspects.

A `PathTable` is all that comparing needs of a round: copies, so that it keeps nothing
of the graph. A `Matrix` joins the tables by key; what makes a row a suspect, and which
suspect comes first, growth.py tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from liveheap_client.analysis.labels import Group, Label
from liveheap_client.analysis.paths import MAX_DEPTH, PathNodes

_INTERNAL_GROUPS = (Group.SHARED, Group.C)


@dataclass(frozen=True, slots=True)
class PathTable:
    """The path nodes of one round, one row a key, in the order of keys."""

    key: NDArray[np.uint64]
    parent_key: NDArray[np.uint64]
    label: NDArray[np.uint8]
    path: NDArray[np.intp]
    count: NDArray[np.int64]
    bytes: NDArray[np.int64]
    internal: NDArray[np.bool_]

    @classmethod
    def of(cls, paths: PathNodes) -> PathTable:
        """Sum path nodes by key, but for liveheap's own and garbage."""
        total = paths.bytes.astype(np.int64)
        for depth in range(int(paths.depth.max(initial=0)), 0, -1):
            level = np.flatnonzero(paths.depth == depth)
            np.add.at(total, paths.parent[level], total[level])
        shown = np.flatnonzero(~paths.hidden & ~paths.garbage)
        keys, first, place = np.unique(
            paths.key[shown], return_index=True, return_inverse=True
        )
        count = np.zeros(len(keys), np.int64)
        size = np.zeros(len(keys), np.int64)
        np.add.at(count, place, paths.count[shown].astype(np.int64))
        np.add.at(size, place, total[shown])
        path = shown[first]
        above = paths.parent[path]
        parent_key = np.where(above >= 0, paths.key[above], np.uint64(0))
        internal = np.isin(paths.label_kind[paths.group[path]], _INTERNAL_GROUPS)
        label = paths.label_kind[path]
        return cls(keys, parent_key, label, path, count, size, internal)

    def path_of(self, key: int) -> int:
        """Return the number of the path node that a key has in its own graph."""
        return int(self.path[np.searchsorted(self.key, np.uint64(key))])


class Matrix:
    """Path nodes by key, rounds side by side."""

    def __init__(self, tables: Sequence[PathTable]) -> None:
        self._keys = np.unique(np.concatenate([table.key for table in tables]))
        shape = (len(self._keys), len(tables))
        self._counts = np.zeros(shape, np.int64)
        self._bytes = np.zeros(shape, np.int64)
        self._parent = np.full(len(self._keys), -1, np.intp)
        self._label = np.zeros(len(self._keys), np.uint8)
        self._internal = np.zeros(len(self._keys), np.bool_)
        for number, table in enumerate(tables):
            place = np.searchsorted(self._keys, table.key)
            self._counts[place, number] = table.count
            self._bytes[place, number] = table.bytes
            self._label[place] = table.label
            self._internal[place] = table.internal
            above = np.searchsorted(self._keys, table.parent_key)
            above = np.minimum(above, len(self._keys) - 1)
            known = self._keys[above] == table.parent_key
            self._parent[place[known]] = above[known]

    def ranked_suspects(self) -> list[int]:
        """Return the rows of suspects, the most bytes gained first."""
        rises: NDArray[np.bool_] = np.all(np.diff(self._counts, axis=1) > 0, axis=1)
        self._step_back(rises)
        risen = [int(row) for row in np.flatnonzero(rises)]
        rows = self._without_keys([row for row in risen if self._is_top(row, rises)])
        gains = self._bytes[:, -1] - self._bytes[:, 0]
        objects = self._counts[:, -1] - self._counts[:, 0]
        single = (self._counts[:, 0] == 0) & (objects == 1)
        behind = single.astype(np.int8) + 2 * self._internal
        return sorted(
            rows, key=lambda r: (behind[r], -gains[r], -objects[r], self._keys[r])
        )

    def key(self, row: int) -> int:
        """Return the key of a row."""
        return int(self._keys[row])

    def counts(self, row: int) -> tuple[int, ...]:
        """Return the objects of a row in each round."""
        return tuple(int(n) for n in self._counts[row])

    def bytes(self, row: int) -> tuple[int, ...]:
        """Return the bytes of a row, and of all below it, in each round."""
        return tuple(int(n) for n in self._bytes[row])

    def _step_back(self, rises: NDArray[np.bool_]) -> None:
        """Clear the rises of frames that hold something which rises."""
        holders = {int(self._parent[row]) for row in np.flatnonzero(rises)}
        for row in holders:
            if row >= 0 and self._label[row] == Label.FRAME:
                rises[row] = False

    def _without_keys(self, rows: Sequence[int]) -> list[int]:
        """Return the rows without keys whose values are among them."""
        values = {
            int(self._parent[row]): row
            for row in rows
            if self._label[row] == Label.ITEM
        }
        kept = []
        for row in rows:
            value = values.get(int(self._parent[row]))
            if value is not None and self._label[row] == Label.KEY:
                self._bytes[value] += self._bytes[row]
            else:
                kept.append(row)
        return kept

    def _is_top(self, row: int, rises: NDArray[np.bool_]) -> bool:
        above = int(self._parent[row])
        # Bounded: keys made to collide could close a ring.
        for _ in range(MAX_DEPTH):
            if above < 0:
                break
            if rises[above]:
                return False
            above = int(self._parent[above])
        return True
