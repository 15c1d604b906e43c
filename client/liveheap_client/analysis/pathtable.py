"""The path nodes of several rounds side by side, and which of them are suspects.

A `PathTable` is all that comparing needs of a round: copies, so that it keeps nothing
of the graph. A `Matrix` joins the tables by key.

Three ways to grow make a row a suspect, each in every interval: more objects (`count`),
more items in the same containers whoever owns what is in them (`length`), more bytes in
the same objects (`size`: a bytearray that is appended to). Of a row and one above it
only the upper one is named if it gains objects; a container that gets longer steps back
behind its items, and so does everything behind something that gains objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from liveheap_client.analysis import series
from liveheap_client.analysis.labels import Group, Label
from liveheap_client.analysis.paths import MAX_DEPTH, PathNodes

ROUNDS_FOR_A_FAMILY = 4
_NAMED = (Label.ATTRIBUTE, Label.KEYED)
_HASH = (1 << 63) - 1
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_INTERNAL_GROUPS = (Group.SHARED, Group.C, Group.TYPES, Label.DEEP)


class Growth(IntEnum):
    """In which way a suspect grows."""

    COUNT = 1
    LENGTH = 2
    SIZE = 3


@dataclass(frozen=True, slots=True)
class PathTable:
    """The path nodes of one round, one row a key, in the order of keys.

    `total` are the bytes of a row and of everything below it; `internal` rows are
    held by nothing but the interpreter's own caches, or by what is beyond the cap. Rows
    of one `family` have one parent, one type and a name each; 0 is none.
    """

    key: NDArray[np.uint64]
    parent_key: NDArray[np.uint64]
    label: NDArray[np.uint8]
    depth: NDArray[np.uint16]
    path: NDArray[np.intp]
    count: NDArray[np.int64]
    length: NDArray[np.int64]
    size: NDArray[np.int64]
    total: NDArray[np.int64]
    family: NDArray[np.uint64]
    internal: NDArray[np.bool_]
    garbage: NDArray[np.bool_]

    @classmethod
    def of(cls, paths: PathNodes) -> PathTable:
        """Sum path nodes by key, but for liveheap's own.

        Garbage is marked: it is no growth while a collector may come and take it.
        """
        total = paths.bytes.astype(np.int64)
        for depth in range(int(paths.depth.max(initial=0)), 0, -1):
            level = np.flatnonzero(paths.depth == depth)
            np.add.at(total, paths.parent[level], total[level])
        shown = np.flatnonzero(~paths.hidden)
        keys, first, place = np.unique(
            paths.key[shown], return_index=True, return_inverse=True
        )

        def summed(values: NDArray[np.uint64] | NDArray[np.int64]) -> NDArray[np.int64]:
            sums = np.zeros(len(keys), np.int64)
            np.add.at(sums, place, values[shown].astype(np.int64))
            return sums

        path = shown[first]
        above = paths.parent[path]
        parent_key = np.where(above >= 0, paths.key[above], np.uint64(0))
        internal = np.isin(paths.label_kind[paths.group[path]], _INTERNAL_GROUPS)
        return cls(
            key=keys,
            parent_key=parent_key,
            label=paths.label_kind[path],
            depth=paths.depth[path],
            path=path,
            count=summed(paths.count),
            length=summed(paths.length),
            size=summed(paths.bytes),
            total=summed(total),
            family=_families(paths, path, parent_key),
            internal=internal,
            garbage=paths.garbage[path],
        )

    def path_of(self, key: int) -> int:
        """Return the number of the path node of a key in its own graph, or -1."""
        place = int(np.searchsorted(self.key, np.uint64(key)))
        if place >= len(self.key) or int(self.key[place]) != key:
            return -1
        return int(self.path[place])


class Matrix:
    """Path nodes by key, rounds side by side.

    `internal` are the rows that are nobody's growth: the interpreter's, and garbage
    unless `garbage_stays` because nobody collects. `key_of` names the row of the keys
    under which the values of a row are kept, where both are suspects.
    """

    def __init__(
        self, tables: Sequence[PathTable], *, garbage_stays: bool = False
    ) -> None:
        self.key = _distinct([table.key for table in tables])
        self.n_keys = len(self.key)
        shape = (self.n_keys, len(tables))
        self.count = np.zeros(shape, np.int64)
        self.length = np.zeros(shape, np.int64)
        self.size = np.zeros(shape, np.int64)
        self.total = np.zeros(shape, np.int64)
        self._levels: list[NDArray[np.intp]] = []
        self.family = np.zeros(len(self.key), np.uint64)
        self.example_of: dict[int, int] = {}
        self.key_of: dict[int, int] = {}
        self.parent = np.full(len(self.key), -1, np.intp)
        self.label = np.zeros(len(self.key), np.uint8)
        self.depth = np.zeros(len(self.key), np.uint16)
        self.internal = np.zeros(len(self.key), np.bool_)
        for number, table in enumerate(tables):
            place = np.searchsorted(self.key, table.key)
            self.count[place, number] = table.count
            self.length[place, number] = table.length
            self.size[place, number] = table.size
            self.total[place, number] = table.total
            self.label[place] = table.label
            # Twice the depth: between a holder and its parts a family has its place.
            self.depth[place] = 2 * table.depth
            self.family[place] = table.family
            passes = table.internal | (table.garbage & (not garbage_stays))
            self.internal[place] = passes
            above = np.searchsorted(self.key, table.parent_key)
            above = np.minimum(above, len(self.key) - 1)
            known = self.key[above] == table.parent_key
            self.parent[place[known]] = above[known]
        self._join_families()

    def _join_families(self) -> None:
        """Make one row of the parts of an object under names made at run time.

        A program's own names are there from the start, or come once. Where new ones
        come in every interval they are data, whatever they look like: what piles up
        under them is one row, between the holder and its parts.
        """
        named = np.flatnonzero((self.family != 0) & ~self.internal)
        if not len(named) or self.count.shape[1] < ROUNDS_FOR_A_FAMILY:
            return
        _, place = np.unique(self.family[named], return_inverse=True)
        counts = np.zeros((int(place.max()) + 1, self.count.shape[1]), np.int64)
        np.add.at(counts, place, self.count[named])
        fresh = np.zeros_like(counts)
        came = np.diff((self.count[named] > 0).astype(np.int8), axis=1) > 0
        np.add.at(fresh[:, 1:], place, came)
        found = np.flatnonzero(series.rises(counts) & (fresh[:, 1:] > 0).all(axis=1))
        for family in found:
            self._join(named[place == family])

    def _join(self, members: NDArray[np.intp]) -> None:
        """Add a row that stands for some, between them and what is above them."""
        first, row = int(members[0]), len(self.key)
        self.example_of[row] = int(members[self.count[members, -1].argmax()])
        for name in ("count", "length", "size", "total"):
            values = getattr(self, name)
            summed = values[members].sum(axis=0, keepdims=True)
            setattr(self, name, np.concatenate([values, summed]))
        self.key = np.append(self.key, self.family[first])
        self.parent = np.append(self.parent, self.parent[first])
        self.parent[members] = row
        above = int(self.parent[row])
        depth = int(self.depth[above]) + 1 if above >= 0 else 0
        self.depth = np.append(self.depth, np.uint16(depth))
        if above < 0:
            self.depth[members] = 1
        self.label = np.append(self.label, self.label[first])
        self.family = np.append(self.family, np.uint64(0))
        self.internal = np.append(self.internal, np.False_)

    def ranked_suspects(self) -> list[tuple[int, Growth]]:
        """Return the rows of suspects and how they grow, the most bytes gained first.

        A single object that was not there before stands behind all others.
        """
        ways = {row: Growth.COUNT for row in self._more_objects()}
        below = self._lead_to(list(ways))
        others = ~series.rises(self.count) & ~self.internal
        for growth, values in (
            (Growth.LENGTH, self.length),
            (Growth.SIZE, self.size),
        ):
            found = [
                int(row)
                for row in np.flatnonzero(series.rises(values) & others)
                if int(row) not in below and self._under(int(row), ways) < 0
            ]
            if growth is Growth.SIZE:
                found = self._lowest(found)
            ways |= {row: growth for row in found}
            below |= self._lead_to(found)
        gains = self.total[:, -1] - self.total[:, 0]
        for value, key in self.key_of.items():
            gains[value] += gains[key]
        objects = self.count[:, -1] - self.count[:, 0]
        single = (self.count[:, 0] == 0) & (objects == 1)
        return sorted(
            ways.items(),
            key=lambda item: (
                single[item[0]],
                -gains[item[0]],
                -objects[item[0]],
                self.key[item[0]],
            ),
        )

    def bursts(self, known: Sequence[int]) -> list[tuple[int, Growth]]:
        """Return the rows that gained now and then, never lost any, and go on.

        Objects, or else bytes: what a buffer keeps grows by leaps. None at, above or
        below a known one, and none below another.
        """
        by_count = series.bursts(self.count) & ~self.internal
        by_size = series.bursts(self.size) & ~self.internal & ~series.gains(self.count)
        above = self._lead_to(known)
        marked = dict.fromkeys(known, Growth.COUNT)

        def fresh(found: NDArray[np.bool_]) -> list[int]:
            return [
                int(row)
                for row in np.flatnonzero(found)
                if int(row) not in above and self._under(int(row), marked) < 0
            ]

        rows = fresh(by_count)
        marked |= dict.fromkeys(rows, Growth.COUNT)
        counted = [row for row in rows if self._under(row, marked) < 0]
        above |= self._lead_to(counted)
        sized = self._lowest(fresh(by_size))
        return [
            *((row, Growth.COUNT) for row in counted),
            *((row, Growth.SIZE) for row in sized),
        ]

    def frames_of(self, group: int) -> list[int]:
        """Return the rows of frames that multiply under a group of stacks."""
        rows = np.flatnonzero((self.parent == group) & (self.label == Label.FRAME))
        rises = series.rises(self.count[rows])
        return [int(row) for row in rows[rises]]

    def subtree(self, tops: Sequence[int]) -> NDArray[np.intp]:
        """Return the rows, and all rows below them."""
        inside = np.zeros(len(self.key), np.bool_)
        inside[list(tops)] = True
        lowest = int(self.depth.max(initial=0))
        for depth in range(int(self.depth[list(tops)].min()) + 1, lowest + 1):
            level = self._level(depth)
            above = self.parent[level]
            inside[level] |= (above >= 0) & inside[above]
        return np.flatnonzero(inside)

    def _level(self, depth: int) -> NDArray[np.intp]:
        if not self._levels:
            order = np.argsort(self.depth, kind="stable")
            lowest = int(self.depth.max(initial=0))
            ends = np.searchsorted(self.depth[order], np.arange(lowest + 2))
            self._levels = [order[ends[d] : ends[d + 1]] for d in range(lowest + 1)]
        return self._levels[depth]

    def row_of(self, key: int) -> int:
        """Return the row of a key; -1 if there is none."""
        row = int(np.searchsorted(self.key[: self.n_keys], np.uint64(key)))
        return row if row < self.n_keys and int(self.key[row]) == key else -1

    def holder(self, row: int) -> int:
        """Return the nearest row above that does not gain objects; -1 if none."""
        above = int(self.parent[row])
        for _ in range(MAX_DEPTH):
            if above < 0 or self.count[above, -1] <= self.count[above, 0]:
                break
            above = int(self.parent[above])
        return above

    def moving(self) -> int:
        """Return how many rows do not hold the same number of objects throughout."""
        return int((self.count != self.count[:, :1]).any(axis=1).sum())

    def _more_objects(self) -> list[int]:
        rises = series.rises(self.count) & ~self.internal
        self._step_back(rises)
        risen = [int(row) for row in np.flatnonzero(rises)]
        marked = dict.fromkeys(risen, Growth.COUNT)
        return self._without_keys([r for r in risen if self._under(r, marked) < 0])

    def _lead_to(self, rows: Sequence[int]) -> set[int]:
        """Return the rows and everything above them."""
        found: set[int] = set()
        for row in rows:
            place = row
            for _ in range(MAX_DEPTH):
                if place < 0 or place in found:
                    break
                found.add(place)
                place = int(self.parent[place])
        return found

    def _under(self, row: int, marked: dict[int, Growth]) -> int:
        """Return the nearest row above this one that is marked; -1 if none."""
        above = int(self.parent[row])
        # Bounded: keys made to collide could close a ring.
        for _ in range(MAX_DEPTH):
            if above < 0 or above in marked:
                break
            above = int(self.parent[above])
        return above if above in marked else -1

    def _lowest(self, rows: Sequence[int]) -> list[int]:
        """Return the rows above none of the others: their bytes are their own."""
        above: set[int] = set()
        for row in rows:
            above |= self._lead_to([int(self.parent[row])])
        return [row for row in rows if row not in above]

    def _step_back(self, rises: NDArray[np.bool_]) -> None:
        """Clear the rises of frames that hold something which rises."""
        holders = {int(self.parent[row]) for row in np.flatnonzero(rises)}
        for row in holders:
            if row >= 0 and self.label[row] == Label.FRAME:
                rises[row] = False

    def _without_keys(self, rows: Sequence[int]) -> list[int]:
        """Return the rows without keys whose values are among them."""
        values = {
            int(self.parent[row]): row for row in rows if self.label[row] == Label.ITEM
        }
        kept = []
        for row in rows:
            value = values.get(int(self.parent[row]))
            if value is not None and self.label[row] == Label.KEY:
                self.key_of[value] = row
            else:
                kept.append(row)
        return kept


def _families(
    paths: PathNodes, path: NDArray[np.intp], parent_key: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """Return what named parts of one holder, of one type, have in common; 0 if none.

    Modules that were made and not loaded are parts of sys.modules.
    """
    label = paths.label_kind[path]
    kinds = np.array([hash(kind.name) & _HASH for kind in paths.graph.types], np.uint64)
    families = (parent_key ^ (kinds[paths.type[path]] * _MULTIPLIER)) * _MULTIPLIER
    families += label
    named = np.isin(label, _NAMED) | ((label == Group.MODULE) & _made(paths)[path])
    known: NDArray[np.uint64] = np.where(named, families, np.uint64(0))
    return known


def _made(paths: PathNodes) -> NDArray[np.bool_]:
    """Tell of each path node whether it is a module that comes from no file."""
    made = np.zeros(len(paths), np.bool_)
    for module in paths.graph.modules:
        path = int(paths.node_path[module.node])
        if path >= 0 and not module.native and module.filename[:1] in ("", "<"):
            made[path] = paths.label_kind[path] == Group.MODULE
    return made


def _distinct(keys: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """Return all keys once, in order; each round's are in order already."""
    ordered = np.sort(np.concatenate(keys), kind="stable")
    fresh = np.ones(len(ordered), np.bool_)
    fresh[1:] = ordered[1:] != ordered[:-1]
    distinct: NDArray[np.uint64] = ordered[fresh]
    return distinct
