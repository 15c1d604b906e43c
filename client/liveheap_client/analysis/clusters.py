"""Suspects that are one: what a holder keeps, what waits together, what only echoes.

Three things make one cluster of several rows:

- they have one holder: the nearest thing above them that does not multiply itself;
- they are locals on the stacks of greenlets, threads or tasks that run one function,
  and those multiply: then what waits is the suspect, not each of its variables;
- they *echo* another: where something that piles up is registered by others as well
  (in a class' registry, in a table by task), those rise by the same steps, and what
  they hold refers to it, if only weakly. They go along with it, named once.

Steps alone prove little: where load is even, a timer makes everything rise alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from liveheap_client.analysis.labels import Group
from liveheap_client.analysis.pathtable import Growth, Matrix

ROUNDS_TO_COMPARE_STEPS = 4
ECHO_SHARE = 0.5
SAME_STEP = 0.03
BURST_SHARE = 0.01
MOST_BURSTS = 3

_STACKS = (Group.GREENLET, Group.THREAD, Group.MAIN_THREAD, Group.TASK)


class Lookup(Protocol):
    """What clusters must know of the newest graph."""

    def row_of_task(self, row: int) -> int:
        """Return the row of the tasks whose coroutines a row stands for, or -1."""

    def is_telling(self, row: int) -> bool:
        """Tell whether a row is of the frames that a group of stacks is named after."""

    def is_named(self, row: int) -> bool:
        """Tell whether a row is of objects whose type says what they are."""

    def refers(self, rows: Sequence[int], tops: Sequence[int]) -> bool:
        """Tell whether objects of some rows have to do with what is below others."""


@dataclass(slots=True)
class Cluster:
    """Rows that are one suspect; the first speaks for all.

    `tops` are the rows that have all of it at or below them. `stack` is the row whose
    count is that of the greenlets, threads or tasks, if the cluster is some that wait;
    `distance` how many steps from the holder they are.
    """

    rows: list[int]
    tops: list[int]
    growth: Growth
    holder: int
    stack: int | None
    distance: int
    counts: NDArray[np.int64]
    bytes: NDArray[np.int64]
    echoes: list[int] = field(default_factory=list)
    share: int | None = None

    @property
    def gained_bytes(self) -> int:
        return int(self.bytes[-1] - self.bytes[0])

    @property
    def gained_share(self) -> float:
        """What it gained of the bytes that it alone keeps, as far as known."""
        last = int(self.bytes[-1])
        if self.share is None or last <= 0:
            return float(self.gained_bytes)
        return self.share * self.gained_bytes / last

    @property
    def is_single(self) -> bool:
        """Whether it is one object that was not there before."""
        return bool(self.counts[0] == 0 and self.counts[-1] == 1)


def clusters(matrix: Matrix, lookup: Lookup) -> list[Cluster]:
    """Return the suspects of a matrix, the most bytes gained first, echoes folded."""
    groups: dict[object, list[tuple[int, Growth]]] = {}
    for row, growth in matrix.ranked_suspects():
        holder = _holder(matrix, lookup, row)
        shared = growth is Growth.COUNT and holder >= 0
        groups.setdefault(holder if shared else (row,), []).append((row, growth))
    found = [_cluster(matrix, lookup, rows) for rows in groups.values()]
    found.sort(key=lambda c: (c.is_single, -c.gained_bytes))
    return _without_echoes(matrix, lookup, _stacks_merged(matrix, found))


def bursts(matrix: Matrix, lookup: Lookup, known: Sequence[Cluster]) -> list[Cluster]:
    """Return what gained in some intervals, by much, and never lost any."""
    rows = matrix.bursts([row for cluster in known for row in cluster.tops])
    found = [_cluster(matrix, lookup, [one]) for one in rows]
    live = int(matrix.size[: matrix.n_keys, -1].sum())
    much = [c for c in found if c.gained_bytes >= BURST_SHARE * live]
    return sorted(much, key=lambda c: -c.gained_bytes)[:MOST_BURSTS]


def _holder(matrix: Matrix, lookup: Lookup, row: int) -> int:
    """Return the row that holds another; of tasks' coroutines, what holds the tasks."""
    if matrix.label[row] == Group.TASK:
        task = lookup.row_of_task(row)
        return matrix.holder(task) if task >= 0 else -1
    return matrix.holder(row)


def _cluster(
    matrix: Matrix, lookup: Lookup, rows: Sequence[tuple[int, Growth]]
) -> Cluster:
    members = _named_first(matrix, lookup, [member for member, _ in rows])
    row, growth = members[0], rows[0][1]
    holder = _holder(matrix, lookup, row)
    stack = next((m for m in members if matrix.label[m] == Group.TASK), None)
    tops = [*members, *(matrix.key_of[m] for m in members if m in matrix.key_of)]
    if holder >= 0 and matrix.label[holder] in _STACKS:
        frames = matrix.frames_of(holder)
        if frames:
            stack = next(filter(lookup.is_telling, frames), frames[0])
            known = set(frames)
            tops = [*frames, *(m for m in tops if matrix.parent[m] not in known)]
    counts = matrix.length[row] if growth is Growth.LENGTH else matrix.count[row]
    return Cluster(
        rows=members,
        tops=tops,
        growth=growth,
        holder=row if growth is not Growth.COUNT else holder,
        stack=stack,
        distance=_distance(matrix, lookup, row if stack is None else stack, holder),
        counts=counts if stack is None else matrix.count[stack],
        bytes=matrix.total[tops].sum(axis=0),
    )


def _named_first(matrix: Matrix, lookup: Lookup, rows: list[int]) -> list[int]:
    """Let objects of a class speak for the lists and dicts that come with them.

    As many came of both, within a factor of two; the order says who weighs more.
    """
    gained = matrix.count[rows, -1] - matrix.count[rows, 0]
    for place, row in enumerate(rows):
        if 2 * gained[place] >= gained[0] >= 0.5 * gained[place] and lookup.is_named(
            row
        ):
            return [row, *rows[:place], *rows[place + 1 :]]
    return rows


def _stacks_merged(matrix: Matrix, found: Sequence[Cluster]) -> list[Cluster]:
    """Make one of what waits in step: the tasks or greenlets of one request.

    The one that its holder holds most directly speaks for them.
    """
    kept: list[Cluster] = []
    for cluster in found:
        place = next(
            (
                i
                for i, other in enumerate(kept)
                if None not in (cluster.stack, other.stack) and _in_step(cluster, other)
            ),
            None,
        )
        if place is None:
            kept.append(cluster)
            continue
        nearest, other = sorted(
            (kept[place], cluster), key=lambda c: (c.distance, _depth(matrix, c.holder))
        )
        nearest.rows += other.rows
        nearest.tops += other.tops
        nearest.bytes = nearest.bytes + other.bytes
        kept[place] = nearest
    return kept


def _distance(matrix: Matrix, lookup: Lookup, row: int, holder: int) -> int:
    """Return the steps from a holder to what it holds; of coroutines, to their task."""
    if matrix.label[row] == Group.TASK:
        row = lookup.row_of_task(row)
    return _depth(matrix, row) - _depth(matrix, holder) if holder >= 0 else 1 << 16


def _depth(matrix: Matrix, row: int) -> int:
    return int(matrix.depth[row]) if row >= 0 else 1 << 16


def _without_echoes(
    matrix: Matrix, lookup: Lookup, found: Sequence[Cluster]
) -> list[Cluster]:
    kept: list[Cluster] = []
    for cluster in found:
        first = next(
            (one for one in kept if _echoes(matrix, lookup, cluster, one)), None
        )
        if first is None:
            kept.append(cluster)
        else:
            first.echoes += cluster.rows
    return kept


def _echoes(matrix: Matrix, lookup: Lookup, cluster: Cluster, first: Cluster) -> bool:
    """Tell whether a cluster only goes along with another one, which weighs more."""
    return (
        cluster.gained_bytes <= ECHO_SHARE * first.gained_bytes
        and _in_step(cluster, first)
        and (
            _is_part(matrix, cluster.holder, first.holder)
            or lookup.refers(cluster.rows, first.tops)
        )
    )


def _is_part(matrix: Matrix, holder: int, whole: int) -> bool:
    """Tell whether one holder hangs directly off the other: parts of one container."""
    return holder >= 0 and whole >= 0 and int(matrix.parent[holder]) == whole


def _in_step(cluster: Cluster, other: Cluster) -> bool:
    """Tell whether two clusters have the same part of their gains in each interval."""
    if len(cluster.counts) < ROUNDS_TO_COMPARE_STEPS or Growth.SIZE in (
        cluster.growth,
        other.growth,
    ):
        return False
    apart = np.abs(_shares(cluster.counts) - _shares(other.counts))
    return bool(apart.max() <= SAME_STEP)


def _shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return what each interval has of the whole gain."""
    steps = np.diff(counts).astype(np.float64)
    shares: NDArray[np.float64] = steps / max(float(steps.sum()), 1.0)
    return shares
