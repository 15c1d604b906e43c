"""What grows over rounds, the path that holds it, and whether that is a leak.

A round is one snapshot. Each graph is merged into path nodes, and path nodes of
different rounds are matched by their keys, which are made of texts: addresses are
never compared, for under churn a new object stands at nearly every old address. What
makes a path a suspect stands in pathtable.py, what a suspect is in suspects.py, what
follows from them in verdict.py.

A hunt may take hours and a graph hundreds of megabytes, so a `Series` keeps no graph:
what a round's suspects look like is written down while its graph is there.

What weakens the answer, the report says in `notes`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

from liveheap_client.analysis.facts import (
    MemoryFacts,
    RoundFacts,
    memory_facts,
    round_facts,
)
from liveheap_client.analysis.graph import HeapGraph
from liveheap_client.analysis.histogram import TypeCount, by_type
from liveheap_client.analysis.paths import MAX_DEPTH, MAX_NODES, PathNodes
from liveheap_client.analysis.pathtable import Matrix, PathTable
from liveheap_client.analysis.sentence import (
    Places,
    next_command,
    ruled_out,
    sentence,
)
from liveheap_client.analysis.suspects import Describer, Suspect
from liveheap_client.analysis.tasks import Figures, figures_of, main_leaver
from liveheap_client.analysis.verdict import (
    MUCH_GARBAGE,
    ROUNDS_FOR_A_VERDICT,
    Evidence,
    Verdict,
    judge,
)
from liveheap_client.quantities import human_bytes

SOMEWHERE = Places(target="TARGET", newest="FILE", rounds=None)


@dataclass(frozen=True, slots=True)
class TypeGrowth:
    """A type over the rounds."""

    type: str
    counts: tuple[int, ...]
    bytes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GrowthReport:
    """The whole answer; `to_json` is the form that leaves the process."""

    verdict: Verdict
    per: str
    rounds: tuple[RoundFacts, ...]
    memory: tuple[MemoryFacts, ...]
    suspects: tuple[Suspect, ...]
    types: tuple[TypeGrowth, ...]
    rss: tuple[int | None, ...]
    truncated: bool
    more_suspects: int
    notes: tuple[str, ...]

    def to_json(self, places: Places = SOMEWHERE) -> dict[str, Any]:
        """Return plain data: maps, lists, texts and numbers.

        Args:
            places: what the next command may name.
        """
        data = asdict(self)
        data["verdict"]["sentence"] = sentence(data)
        data["ruled_out"] = ruled_out(data)
        data["next"] = next_command(data, places)
        return data


@dataclass(frozen=True, slots=True)
class _Round:
    """What is kept of a graph."""

    facts: RoundFacts
    memory: MemoryFacts
    table: PathTable
    types: dict[str, TypeCount]
    figures: dict[str, Figures]
    warnings: tuple[str, ...]
    incomplete: bool
    capped: bool


class Series:
    """Rounds as they come, oldest first; each graph may go once it is added."""

    def __init__(self) -> None:
        self._rounds: list[_Round] = []
        self._suspects: list[Suspect] = []
        self._n_suspects = 0
        self._moving = 0
        self._notes: list[str] = []

    def __len__(self) -> int:
        return len(self._rounds)

    def add(self, graph: HeapGraph, paths: PathNodes | None = None) -> None:
        """Search a graph, sum it up, and describe what rose in every round so far.

        Args:
            graph: the newest round's.
            paths: its paths, if somebody has searched it already.
        """
        if paths is None:
            paths = PathNodes.of(graph)
        self._rounds.append(_sum_up(graph, paths))
        if len(self._rounds) > 1:
            matrix = Matrix(
                [one.table for one in self._rounds],
                garbage_stays=self._rounds[-1].memory.gc_enabled is False,
            )
            self._moving = matrix.moving()
            at, _ = moments(self._facts())
            leaver = main_leaver([one.figures for one in self._rounds])
            describer = Describer(matrix, self._rounds[-1].table, paths, at, leaver)
            self._suspects, self._n_suspects = describer.suspects()

    def note(self, text: str) -> None:
        """Add what weakens the answer and stands in no file."""
        self._notes.append(text)

    def report(self, *, rss: Sequence[int | None] | None = None) -> GrowthReport:
        """Return what the rounds so far tell.

        Args:
            rss: the worker's RSS in each round, if not what the snapshots say.
        """
        rounds = self._rounds
        if len(rounds) < 2:
            raise ValueError(f"a comparison needs two rounds, there is {len(rounds)}")
        facts = self._facts()
        if rss is not None:
            facts = [replace(one, rss=n) for one, n in zip(facts, rss, strict=True)]
        memory = [one.memory for one in rounds]
        at, timed = moments(facts)
        evidence = Evidence(facts, memory, self._suspects, at, timed, self._moving)
        return GrowthReport(
            verdict=judge(evidence),
            per="hour" if evidence.timed else "round",
            rounds=tuple(facts),
            memory=tuple(memory),
            suspects=tuple(self._suspects),
            types=tuple(_type_rows(rounds)),
            rss=tuple(one.rss for one in facts),
            truncated=any(one.capped for one in rounds),
            more_suspects=self._n_suspects - len(self._suspects),
            notes=(*_notes(rounds), *self._notes),
        )

    def _facts(self) -> list[RoundFacts]:
        return [one.facts for one in self._rounds]


def diff(
    graphs: Iterable[HeapGraph], *, rss: Sequence[int | None] | None = None
) -> GrowthReport:
    """Compare graphs, oldest first; an iterator's are let go one by one."""
    series = Series()
    for graph in graphs:
        series.add(graph)
        del graph  # or it would stay while the next one is made
    return series.report(rss=rss)


def moments(rounds: Sequence[RoundFacts]) -> tuple[list[float], bool]:
    """Return when each round was taken, and whether in hours: else their numbers."""
    known = [one.created for one in rounds if one.created is not None]
    if len(known) == len(rounds) and all(b > a for a, b in pairwise(known)):
        return [(moment - known[0]) / 3600 for moment in known], True
    return [float(number) for number in range(len(rounds))], False


def _sum_up(graph: HeapGraph, paths: PathNodes) -> _Round:
    return _Round(
        facts=round_facts(graph, int(paths.bytes[paths.garbage].sum())),
        memory=memory_facts(graph),
        table=PathTable.of(paths),
        types=by_type(graph, without=paths.own_objects()),
        figures=figures_of(graph),
        warnings=tuple(f"worker: {text}" for text in graph.raw.warnings()),
        incomplete=graph.truncated,
        capped=paths.truncated,
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
            f"{len(rounds)} rounds are a comparison, not yet a verdict; "
            f"that takes {ROUNDS_FOR_A_VERDICT}",
        )
    if len({one.facts.process for one in rounds}) > 1:
        notes.append("the rounds come from different processes")
    if any(one.incomplete for one in rounds):
        notes.append("a snapshot is truncated: objects are missing from its counts")
    garbage = rounds[-1].facts.garbage_bytes
    if garbage > MUCH_GARBAGE * rounds[-1].facts.bytes:
        notes.append(
            f"{human_bytes(garbage)} of the last round are garbage not yet collected: "
            "--gc collects before each round"
        )
    if any(one.capped for one in rounds):
        notes.append(
            f"a cap was reached, {MAX_NODES:,} different paths or {MAX_DEPTH} steps of "
            "one: what lies beyond is merged, or no suspect"
        )
    return notes
