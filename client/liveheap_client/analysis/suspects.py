"""A suspect: a path that gained something in every interval, and who holds it.

`holder` is what a person would change: the container or variable that the objects pile
up in, so the nearest thing above them that does not multiply itself. Suspects that one
holder keeps are one: the first bears the others' types in `also`.

`fingerprint` names the same leak in another worker, host or deploy: SHA-1 of the path
as texts, without line numbers, addresses or values. An object that hangs off a module
has no greenlet's or thread's number in its path anyway.

`orphan` says that nothing holds it: its reference count is higher than the references
to it that we know, by `excess_references`; then only C can be keeping it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from liveheap_client.analysis.graph import HeapGraph
from liveheap_client.analysis.labels import Group
from liveheap_client.analysis.paths import PathNodes
from liveheap_client.analysis.pathtable import Growth, Matrix, PathTable
from liveheap_client.analysis.trend import levels_off, mann_kendall_p, theil_sen

MOST_SUSPECTS = 200
MOST_ALSO = 5

_LINE = re.compile(r"(?<=\.py):\d+")


@dataclass(frozen=True, slots=True)
class Suspect:
    """A path that gained objects, items or bytes in every interval.

    `counts` are its objects in each round (its items, if `grows` is `length`), `bytes`
    theirs and of all they alone lead to; `retaining_path` is how one of them is held in
    the last round. Slopes are per hour where the rounds say when they were taken.
    """

    path: str
    type: str
    holder: str | None
    holder_type: str | None
    orphan: bool
    excess_references: int
    grows: str
    counts: tuple[int, ...]
    bytes: tuple[int, ...]
    slope: float
    slope_low: float
    slope_high: float
    bytes_slope: float
    p: float
    growth_per_round: float
    bytes_per_round: float
    levels_off: bool
    internal: bool
    retaining_path: tuple[str, ...]
    fingerprint: str
    fingerprint_text: str
    also: tuple[str, ...] = ()
    alloc: None = None
    task: None = None

    @property
    def gained(self) -> int:
        """Objects or items gained from the first round to the last."""
        return self.counts[-1] - self.counts[0]

    @property
    def gained_bytes(self) -> int:
        """Bytes gained from the first round to the last."""
        return self.bytes[-1] - self.bytes[0]


def describe(
    matrix: Matrix, table: PathTable, paths: PathNodes, at: Sequence[float]
) -> tuple[list[Suspect], int]:
    """Describe what rises, by its example in the newest round; and count all of it.

    Args:
        matrix: all rounds.
        table: the newest of them.
        paths: its path nodes.
        at: when each round was taken.
    """
    ranked = matrix.ranked_suspects()
    groups: dict[object, list[tuple[int, Growth]]] = {}
    for row, growth in ranked:
        holder = matrix.holder(row)
        by_holder = growth is Growth.COUNT and holder >= 0
        groups.setdefault(holder if by_holder else (row,), []).append((row, growth))
    described = [
        _suspect(matrix, table, paths, at, rows)
        for rows in list(groups.values())[:MOST_SUSPECTS]
    ]
    return described, len(groups)


def _suspect(
    matrix: Matrix,
    table: PathTable,
    paths: PathNodes,
    at: Sequence[float],
    rows: Sequence[tuple[int, Growth]],
) -> Suspect:
    row, growth = rows[0]
    path = table.path_of(int(matrix.key[row]))
    example = int(paths.example[path])
    values = {
        Growth.COUNT: matrix.count,
        Growth.LENGTH: matrix.length,
        Growth.SIZE: matrix.count,
    }[growth][row]
    size = matrix.total[row]
    judged = size if growth is Growth.SIZE else values
    slope = theil_sen(values.tolist(), at)
    orphan = int(paths.label_kind[paths.group[path]]) == Group.UNEXPLAINED
    holder, holder_type = _holder(matrix, table, paths, row, growth)
    text = fingerprint_text(paths, path)
    return Suspect(
        path=paths.text(path),
        type=paths.graph.type_name(int(paths.type[path])),
        holder=None if orphan and int(paths.depth[path]) == 1 else holder,
        holder_type=holder_type,
        orphan=orphan,
        excess_references=_excess(paths.graph, example) if orphan else 0,
        grows=growth.name.lower(),
        counts=tuple(int(n) for n in values),
        bytes=tuple(int(n) for n in size),
        slope=slope.value,
        slope_low=slope.low,
        slope_high=slope.high,
        bytes_slope=theil_sen(size.tolist(), at).value,
        p=mann_kendall_p(judged.tolist()),
        growth_per_round=theil_sen(values.tolist()).value,
        bytes_per_round=theil_sen(size.tolist()).value,
        levels_off=levels_off(judged.tolist(), at),
        internal=bool(matrix.internal[row]),
        retaining_path=tuple(paths.retaining_path(example)),
        fingerprint=hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(),
        fingerprint_text=text,
        also=_also(matrix, table, paths, rows[1:]),
    )


def _holder(
    matrix: Matrix, table: PathTable, paths: PathNodes, row: int, growth: Growth
) -> tuple[str | None, str | None]:
    """Return what holds a suspect, and its type."""
    holder = row if growth is not Growth.COUNT else matrix.holder(row)
    if holder < 0:
        return None, None
    key = int(matrix.key[holder])
    place = np.searchsorted(table.key, np.uint64(key))
    if place >= len(table.key) or int(table.key[place]) != key:
        return None, None
    path = int(table.path[place])
    return paths.text(path, with_type=False), paths.graph.type_name(
        int(paths.type[path])
    )


def _also(
    matrix: Matrix,
    table: PathTable,
    paths: PathNodes,
    rows: Sequence[tuple[int, Growth]],
) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for row, _ in rows:
        path = table.path_of(int(matrix.key[row]))
        found[paths.graph.type_name(int(paths.type[path]))] = None
    return tuple(found)[:MOST_ALSO]


def fingerprint_text(paths: PathNodes, path: int) -> str:
    """Return a path as text that no deploy changes: lines of code are left out."""
    return _LINE.sub("", paths.text(path))


def _excess(graph: HeapGraph, node: int) -> int:
    """Return how many references more an object counts than we know of."""
    row, _ = graph.reverse
    known = int(row[node + 1]) - int(row[node])
    return max(int(graph.refcount[node]) - known, 0)
