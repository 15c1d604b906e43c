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
What only the interpreter holds in its caches (interned strings, a cache of look-ups)
stands behind even those: nobody can act on it.
Garbage that waits for the collector is no suspect; a note says if there is much.

A hunt may take hours and a graph hundreds of megabytes, so a `Series` keeps no graph:
what a round's suspects look like is written down while its graph is there.

Two or three rounds are a comparison: a path that rose once may fall the next time.
`verdict` is None then. What the rounds did not settle, the report says in `notes`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from liveheap_client.analysis.graph import HeapGraph
from liveheap_client.analysis.histogram import TypeCount, by_type
from liveheap_client.analysis.paths import PathNodes
from liveheap_client.analysis.pathtable import Matrix, PathTable
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
class _Round:
    """What is kept of a graph."""

    facts: RoundFacts
    table: PathTable
    types: dict[str, TypeCount]
    warnings: tuple[str, ...]
    garbage_bytes: int
    incomplete: bool
    capped: bool


class Series:
    """Rounds as they come, oldest first; each graph may go once it is added."""

    def __init__(self) -> None:
        self._rounds: list[_Round] = []
        self._suspects: tuple[Suspect, ...] = ()
        self._n_suspects = 0

    def __len__(self) -> int:
        return len(self._rounds)

    def add(self, graph: HeapGraph) -> None:
        """Search a graph, sum it up, and describe what rose in every round so far."""
        paths = PathNodes.of(graph)
        self._rounds.append(_sum_up(graph, paths))
        if len(self._rounds) > 1:
            matrix = Matrix([one.table for one in self._rounds])
            ranked = matrix.ranked_suspects()
            self._n_suspects = len(ranked)
            table = self._rounds[-1].table
            self._suspects = tuple(
                _suspect(matrix, row, paths, table.path_of(matrix.key(row)))
                for row in ranked[:MOST_SUSPECTS]
            )

    def report(self, *, rss: Sequence[int | None] | None = None) -> GrowthReport:
        """Return what the rounds so far tell.

        Args:
            rss: the worker's RSS in each round, if not what the snapshots say.
        """
        rounds = self._rounds
        if len(rounds) < 2:
            raise ValueError(f"a comparison needs two rounds, there is {len(rounds)}")
        verdict = None
        if len(rounds) >= ROUNDS_FOR_A_VERDICT:
            verdict = "growth" if self._suspects else "no growth"
        return GrowthReport(
            rounds=tuple(one.facts for one in rounds),
            suspects=self._suspects,
            types=tuple(_type_rows(rounds)),
            rss=tuple([one.facts.rss for one in rounds] if rss is None else rss),
            verdict=verdict,
            truncated=any(one.capped for one in rounds),
            more_suspects=self._n_suspects - len(self._suspects),
            notes=tuple(_notes(rounds)),
        )


def diff(
    graphs: Iterable[HeapGraph], *, rss: Sequence[int | None] | None = None
) -> GrowthReport:
    """Compare graphs, oldest first; an iterator's are let go one by one."""
    series = Series()
    for graph in graphs:
        series.add(graph)
        del graph  # or it would stay while the next one is made
    return series.report(rss=rss)


def _sum_up(graph: HeapGraph, paths: PathNodes) -> _Round:
    return _Round(
        facts=_facts(graph),
        table=PathTable.of(paths),
        types=by_type(graph, without=paths.own_objects()),
        warnings=tuple(f"worker: {text}" for text in graph.raw.warnings()),
        garbage_bytes=int(paths.bytes[paths.garbage].sum()),
        incomplete=graph.truncated,
        capped=paths.truncated,
    )


def _suspect(matrix: Matrix, row: int, paths: PathNodes, path: int) -> Suspect:
    """Describe a suspect by its example in the newest round."""
    counts, sizes = matrix.counts(row), matrix.bytes(row)
    return Suspect(
        path=paths.text(path),
        type=paths.graph.type_name(int(paths.type[path])),
        counts=counts,
        bytes=sizes,
        growth_per_round=theil_sen_slope(counts),
        bytes_per_round=theil_sen_slope(sizes),
        retaining_path=tuple(paths.retaining_path(int(paths.example[path]))),
    )


def _facts(graph: HeapGraph) -> RoundFacts:
    header, trailer = graph.header, graph.trailer
    instance = header.get("instance")
    return RoundFacts(
        created=_number(header.get("created")),
        pid=_whole(header.get("pid")),
        instance=instance if isinstance(instance, str) else None,
        nodes=graph.facts["nodes"],
        edges=graph.facts["edges"],
        bytes=graph.facts["bytes"],
        rss=graph.rss,
        pause_ns=_whole(trailer.get("pause_ns")),
    )


def _type_rows(rounds: Sequence[_Round]) -> list[TypeGrowth]:
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


def _notes(rounds: Sequence[_Round]) -> list[str]:
    """Say what weakens the answer."""
    notes = list(dict.fromkeys(note for one in rounds for note in one.warnings))
    if len(rounds) < ROUNDS_FOR_A_VERDICT:
        notes.insert(
            0,
            f"{len(rounds)} rounds are a comparison, not a verdict; "
            f"that takes {ROUNDS_FOR_A_VERDICT}",
        )
    processes = {(one.facts.pid, one.facts.instance) for one in rounds}
    if len(processes) > 1:
        notes.append("the rounds come from different processes")
    if any(one.incomplete for one in rounds):
        notes.append("a snapshot is truncated: objects are missing from its counts")
    garbage = rounds[-1].garbage_bytes
    if garbage > MUCH_GARBAGE * rounds[-1].facts.bytes:
        notes.append(
            f"{garbage} bytes of the last round are garbage not yet collected: "
            "--gc collects before each round"
        )
    if any(one.capped for one in rounds):
        notes.append("a cap on path nodes was reached: deep paths are merged")
    return notes


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None
