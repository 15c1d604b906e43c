"""Containers by the path that holds them: how long, how full, and which grow.

Counting objects does not show a list that keeps getting longer, for the list is one
object. So here lengths are summed over each path. The fill is the share of slots in use
where the size of a container says how many it has: lists, dicts and sets of CPython.
A dict that was large once keeps its slots; its path shows as large and nearly empty.

Over several snapshots paths are matched as growth.py matches them, by their texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from liveheap.snapshot.format import Tag
from liveheap_client.analysis.filters import Filter
from liveheap_client.analysis.graph import EdgeKind, HeapGraph, NodeFlag
from liveheap_client.analysis.paths import PathNodes
from liveheap_client.analysis.trend import theil_sen_slope

_EMPTY_LIST: Final = 56
_POINTER: Final = 8
_EMPTY_SET, _SMALL_SET, _SET_SLOT = 216, 8, 16
_EMPTY_DICT: Final = 64
_LARGEST_DICT: Final = 40


@dataclass(frozen=True, slots=True)
class ContainerPath:
    """The containers of one path; `fill` is in percent, None where unknown."""

    path: str
    type: str
    count: int
    length: int
    longest: int
    fill: float | None
    bytes: int
    key: int

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        fields = asdict(self)
        del fields["key"]
        return fields


@dataclass(frozen=True, slots=True)
class GrowingPath:
    """The summed length of one path over rounds, and its slope per round."""

    path: str
    type: str
    lengths: tuple[int, ...]
    per_round: float

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def containers(graph: HeapGraph, kept: Filter) -> list[ContainerPath]:
    """Return the containers by path, that with the most room first."""
    paths = PathNodes.of(graph)
    length = lengths(graph)
    chosen = (length >= 0) & kept.nodes(graph) & (paths.node_path >= 0)
    chosen &= graph.flags & (NodeFlag.FOLDED | NodeFlag.NAMESPACE | NodeFlag.BASES) == 0
    hidden = paths.own_objects()
    if hidden is not None:
        chosen &= ~hidden
    if kept.min_size:
        chosen &= graph.dominators.retained >= kept.least
    nodes = np.flatnonzero(chosen)
    slots = capacities(graph)[nodes]
    table = _Sums(paths.node_path[nodes], length[nodes], slots, graph.size[nodes])
    order = np.argsort(-table.largest, kind="stable")
    return [
        ContainerPath(
            paths.text(path, with_type=False),
            graph.type_name(int(paths.type[path])),
            int(table.count[i]),
            int(table.length[i]),
            int(table.longest[i]),
            100 * int(table.used[i]) / int(table.slots[i]) if table.slots[i] else None,
            int(table.bytes[i]),
            int(paths.key[path]),
        )
        for i, path in ((int(i), int(table.path[i])) for i in order)
        if table.largest[i]
    ]


def growing(rounds: Sequence[Sequence[ContainerPath]]) -> list[GrowingPath]:
    """Return the paths whose containers got longer, the fastest first."""
    known: dict[int, list[int]] = {}
    named: dict[int, ContainerPath] = {}
    for number, rows in enumerate(rounds):
        for row in rows:
            series = known.setdefault(row.key, [0] * len(rounds))
            series[number] += row.length
            named[row.key] = row
    found = [
        GrowingPath(named[key].path, named[key].type, tuple(series), slope)
        for key, series in known.items()
        if (slope := theil_sen_slope(series)) > 0 and series[-1] > series[0]
    ]
    return sorted(found, key=lambda row: (-row.per_round, row.path))


def lengths(graph: HeapGraph) -> NDArray[np.int64]:
    """Return how many items each node has, -1 if it is no container."""
    degree = np.diff(graph.row.astype(np.int64))
    found = np.full(graph.n_nodes, -1, np.int64)
    items, pairs = graph.record == Tag.ITEMS, graph.record == Tag.PAIRS
    found[items] = degree[items]
    found[pairs] = (degree[pairs] + 1) // 2
    compound = np.flatnonzero(graph.record == Tag.COMPOUND)
    if len(compound):
        kind = graph.edge_kind & 0x7F
        counted = (kind == EdgeKind.ITEM) | (kind == EdgeKind.VALUE)
        before = np.concatenate([[0], np.cumsum(counted, dtype=np.uint32)])
        found[compound] = (
            before[graph.row[compound + 1]].astype(np.int64)
            - before[graph.row[compound]]
        )
    return found


def capacities(graph: HeapGraph) -> NDArray[np.int64]:
    """Return how many items each node has room for, 0 where its size does not say."""
    room = np.zeros(graph.n_nodes, np.int64)
    size = graph.size.astype(np.int64)
    python = str(graph.header.get("python", ""))
    for number, info in enumerate(graph.types):
        if info.module not in ("", "builtins"):
            continue
        of_type = graph.type == number
        if info.qualname == "list":
            room[of_type] = np.maximum(size[of_type] - _EMPTY_LIST, 0) // _POINTER
        elif info.qualname in ("set", "frozenset"):
            table = (size[of_type] - _EMPTY_SET) // _SET_SLOT
            room[of_type] = np.where(table > 0, table, _SMALL_SET)
        elif info.qualname == "dict":
            sizes, usable = _dict_sizes(python)
            place = np.searchsorted(sizes, size[of_type])
            place = np.minimum(place, len(sizes) - 1)
            room[of_type] = np.where(sizes[place] == size[of_type], usable[place], 0)
    return room


def _dict_sizes(python: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the sizes that a dict's table can have, and the room of each.

    A table is a head, 2^k indices of one to eight bytes, and entries for two thirds of
    them: 24 bytes, or 16 where all keys are text (from 3.11 on).
    """
    old = python.startswith(("3.10", "3.9"))
    head = 40 if old else 32
    found: dict[int, int] = {}
    for bits in range(3, _LARGEST_DICT):
        index = 1 if bits < 8 else 2 if bits < 16 else 4 if bits < 32 else 8
        usable = (2 << bits) // 3
        for entry in (24,) if old else (24, 16):
            found.setdefault(
                _EMPTY_DICT + head + (index << bits) + usable * entry, usable
            )
    sizes = sorted(found)
    return np.array(sizes, np.int64), np.array([found[s] for s in sizes], np.int64)


class _Sums:
    """Containers added up by path."""

    def __init__(
        self,
        path: NDArray[np.int32],
        length: NDArray[np.int64],
        slots: NDArray[np.int64],
        size: NDArray[np.uint64],
    ) -> None:
        self.path, place = np.unique(path, return_inverse=True)
        n = len(self.path)
        self.count = np.bincount(place, minlength=n)
        self.length = self._summed(place, length, n)
        self.slots = self._summed(place, slots, n)
        self.used = self._summed(place, np.where(slots > 0, length, 0), n)
        self.bytes = self._summed(place, size.astype(np.int64), n)
        self.longest = np.zeros(n, np.int64)
        np.maximum.at(self.longest, place, length)
        self.largest = np.zeros(n, np.int64)
        np.maximum.at(self.largest, place, np.maximum(length, slots))

    @staticmethod
    def _summed(
        place: NDArray[np.intp], values: NDArray[np.int64], n: int
    ) -> NDArray[np.int64]:
        sums = np.zeros(n, np.int64)
        np.add.at(sums, place, values)
        return sums
