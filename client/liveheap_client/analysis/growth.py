"""What grows over rounds, and the path that holds it.

A round is one snapshot. Each graph is merged into path nodes, and path nodes of
different rounds are matched by their keys, which are made of texts: addresses are
never compared, for under churn a new object stands at nearly every old address.

A path node is a suspect if its count rose in every interval and no path node above it
did the same: of a leaking object with parts, only the object is named. Its `bytes`
are those of everything below it, and suspects are ranked by how much those grew.
Two kinds of path nodes step back: a frame, if something that it holds is a suspect
(the variable says more), and the keys of a dict beside its values, whose bytes the
values then bear. A single object that was not there before stands behind all others,
however large: two rounds show many of them (a module was imported), four show none.
Garbage that waits for the collector is no suspect; a note says if there is much.

Two or three rounds are a comparison: a path that rose once may fall the next time.
`verdict` is None then. What the rounds did not settle, the report says in `notes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liveheap_client.analysis.graph import HeapGraph
from liveheap_client.analysis.histogram import TypeCount, by_type
from liveheap_client.analysis.labels import Label
from liveheap_client.analysis.paths import PathNodes
from liveheap_client.analysis.trend import theil_sen_slope

ROUNDS_FOR_A_VERDICT = 4
MOST_SUSPECTS = 200
MUCH_GARBAGE = 0.02


@dataclass(frozen=True, slots=True)
class RoundFacts:
    """One round, in numbers."""

    created: float | None
    pid: int | None
    instance: str | None
    nodes: int
    edges: int
    bytes: int
    rss: int | None
    pause_ns: int | None


@dataclass(frozen=True, slots=True)
class Suspect:
    """A path that gained objects in every interval.

    `counts` are its objects in each round, `bytes` theirs and of all they alone lead
    to; `retaining_path` is how one of them is held in the last round.
    """

    path: str
    type: str
    counts: tuple[int, ...]
    bytes: tuple[int, ...]
    growth_per_round: float
    bytes_per_round: float
    retaining_path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TypeGrowth:
    """A type over the rounds."""

    type: str
    counts: tuple[int, ...]
    bytes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GrowthReport:
    """The whole answer; `to_json` is the form that leaves the process."""

    rounds: tuple[RoundFacts, ...]
    suspects: tuple[Suspect, ...]
    types: tuple[TypeGrowth, ...]
    rss: tuple[int | None, ...]
    verdict: str | None
    truncated: bool
    more_suspects: int
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain data: maps, lists, texts and numbers."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Table:
    """The path nodes of one round, one row a key, in the order of keys."""

    key: NDArray[np.uint64]
    parent_key: NDArray[np.uint64]
    label: NDArray[np.uint8]
    path: NDArray[np.intp]
    count: NDArray[np.int64]
    bytes: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Round:
    """What `diff` needs of a graph; the last round's graph also tells the paths."""

    facts: RoundFacts
    paths: PathNodes
    types: dict[str, TypeCount]
    table: _Table
    notes: tuple[str, ...] = field(default=())

    @classmethod
    def of(cls, graph: HeapGraph) -> Round:
        """Search a graph and sum it up."""
        paths = PathNodes.of(graph)
        own = paths.own_objects()
        notes = tuple(f"worker: {text}" for text in graph.raw.warnings())
        return cls(
            _facts(graph), paths, by_type(graph, without=own), _table(paths), notes
        )


def diff(
    graphs: Sequence[HeapGraph | Round], *, rss: Sequence[int | None] | None = None
) -> GrowthReport:
    """Compare rounds, oldest first.

    Args:
        graphs: two graphs or more, or rounds made of them earlier.
        rss: the worker's RSS in each round, if not what the snapshots say.
    """
    rounds = [item if isinstance(item, Round) else Round.of(item) for item in graphs]
    if len(rounds) < 2:
        raise ValueError(f"a comparison needs two rounds, there is {len(rounds)}")
    found = _Matrix(rounds)
    ranked = found.ranked_suspects()
    sizes = [one.facts.rss for one in rounds] if rss is None else list(rss)
    verdict = None
    if len(rounds) >= ROUNDS_FOR_A_VERDICT:
        verdict = "growth" if ranked else "no growth"
    return GrowthReport(
        rounds=tuple(one.facts for one in rounds),
        suspects=tuple(found.suspect(row) for row in ranked[:MOST_SUSPECTS]),
        types=tuple(_type_rows(rounds)),
        rss=tuple(sizes),
        verdict=verdict,
        truncated=any(one.paths.truncated for one in rounds),
        more_suspects=max(0, len(ranked) - MOST_SUSPECTS),
        notes=tuple(_notes(rounds)),
    )


class _Matrix:
    """Path nodes by key, rounds side by side."""

    def __init__(self, rounds: Sequence[Round]) -> None:
        self._last = rounds[-1]
        tables = [one.table for one in rounds]
        self._keys = np.unique(np.concatenate([table.key for table in tables]))
        shape = (len(self._keys), len(tables))
        self._counts = np.zeros(shape, np.int64)
        self._bytes = np.zeros(shape, np.int64)
        self._parent = np.full(len(self._keys), -1, np.intp)
        self._label = np.zeros(len(self._keys), np.uint8)
        for number, table in enumerate(tables):
            place = np.searchsorted(self._keys, table.key)
            self._counts[place, number] = table.count
            self._bytes[place, number] = table.bytes
            self._label[place] = table.label
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
        return sorted(
            rows, key=lambda r: (single[r], -gains[r], -objects[r], self._keys[r])
        )

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

    def suspect(self, row: int) -> Suspect:
        """Describe a suspect by its example in the last round."""
        paths, table = self._last.paths, self._last.table
        place = int(np.searchsorted(table.key, self._keys[row]))
        path = int(table.path[place])
        counts = tuple(int(n) for n in self._counts[row])
        sizes = tuple(int(n) for n in self._bytes[row])
        return Suspect(
            path=paths.text(path),
            type=paths.graph.type_name(int(paths.type[path])),
            counts=counts,
            bytes=sizes,
            growth_per_round=theil_sen_slope(counts),
            bytes_per_round=theil_sen_slope(sizes),
            retaining_path=tuple(paths.retaining_path(int(paths.example[path]))),
        )

    def _is_top(self, row: int, rises: NDArray[np.bool_]) -> bool:
        above = int(self._parent[row])
        while above >= 0:
            if rises[above]:
                return False
            above = int(self._parent[above])
        return True


def _facts(graph: HeapGraph) -> RoundFacts:
    header, trailer = graph.header, graph.trailer
    instance = header.get("instance")
    return RoundFacts(
        created=_number(header.get("created")),
        pid=_whole(header.get("pid")),
        instance=instance
        if isinstance(instance := header.get("instance"), str)
        else None,
        nodes=graph.facts["nodes"],
        edges=graph.facts["edges"],
        bytes=graph.facts["bytes"],
        rss=graph.rss,
        pause_ns=_whole(trailer.get("pause_ns")),
    )


def _table(paths: PathNodes) -> _Table:
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
    return _Table(keys, parent_key, paths.label_kind[path], path, count, size)


def _type_rows(rounds: Sequence[Round]) -> list[TypeGrowth]:
    """Return all types, those that gained most bytes first."""
    names = {name for one in rounds for name in one.types}
    rows = []
    for name in names:
        cells = [one.types.get(name, TypeCount(name, 0, 0)) for one in rounds]
        rows.append(
            TypeGrowth(
                name,
                tuple(cell.count for cell in cells),
                tuple(cell.bytes for cell in cells),
            )
        )
    return sorted(rows, key=lambda r: (r.bytes[0] - r.bytes[-1], r.type))


def _notes(rounds: Sequence[Round]) -> list[str]:
    """Say what weakens the answer."""
    notes = list(dict.fromkeys(note for one in rounds for note in one.notes))
    if len(rounds) < ROUNDS_FOR_A_VERDICT:
        notes.insert(
            0,
            f"{len(rounds)} rounds are a comparison, not a verdict; "
            f"that takes {ROUNDS_FOR_A_VERDICT}",
        )
    processes = {(one.facts.pid, one.facts.instance) for one in rounds}
    if len(processes) > 1:
        notes.append("the rounds come from different processes")
    if any(one.paths.graph.truncated for one in rounds):
        notes.append("a snapshot is truncated: objects are missing from its counts")
    last = rounds[-1].paths
    garbage = int(last.bytes[last.garbage].sum())
    if garbage > MUCH_GARBAGE * rounds[-1].facts.bytes:
        notes.append(
            f"{garbage} bytes of the last round are garbage not yet collected: "
            "--gc collects before each round"
        )
    if any(one.paths.truncated for one in rounds):
        notes.append("a cap on path nodes was reached: deep paths are merged")
    return notes


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None
