"""Is it a leak? One of seven kinds, how sure that is, and why not something else.

    leak            a path of Python objects gains in every interval, and enough
    reference-leak  so do objects that nothing holds: C took references and keeps them
    descriptors     open files or sockets rise in every interval
    native          RSS rises, and the objects of the graph do not account for it;
                    the reason names whose memory it is, if that is known (outside.py)
    plateau         no leak: what grew has levelled off, or is held within bounds
    nothing-grows   no leak: the heap is flat
    undecided       these rounds cannot tell; `reasons` says why, `next` what to do

"No leak" must be said as plainly as "leak", and neither without four rounds of one
process; nor is it ever sure of a worker that was watched for seconds only. A suspect
counts if it rose in every interval (Mann-Kendall p <= 0.05 follows from that at four
rounds), if its rate is worth a person's time (1 % of RSS a day), and if it is no
chance: of many paths that go up and down by themselves some rise four times running, by
little and unevenly. What dies down or has a bound (`levels_off`) fills up; it is said,
not accused. What only the interpreter holds nobody can act on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import median

from liveheap_client.analysis import outside
from liveheap_client.analysis.facts import MemoryFacts, RoundFacts
from liveheap_client.analysis.suspects import Suspect
from liveheap_client.analysis.trend import (
    levels_off,
    mann_kendall_p,
    rises_throughout,
)

ROUNDS_FOR_A_VERDICT = 4
HIGHEST_P = 0.05
MUCH_GARBAGE = 0.02
FLAT = 0.01
LEAST_SHARE_A_DAY = 0.01
LEAST_SHARE_OF_GROWTH = 0.02
# A snapshot costs the worker some memory itself: a MiB in each of the first rounds.
LEAST_NATIVE_BYTES = 1 << 20
MUCH_NATIVE_BYTES = 4 << 20
LEAST_NATIVE_SHARE = 0.05
LEAST_DESCRIPTORS = 4
LEAST_DRIFT = 0.002
LEAST_DRIFT_BYTES = 64 << 10
# A worker may well have nothing to do for ten seconds.
LONG_S = 30.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rounds tell; `suspect` is the place of the one it is about."""

    kind: str
    confidence: str
    suspect: int | None = None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a verdict rests on."""

    rounds: Sequence[RoundFacts]
    memory: Sequence[MemoryFacts]
    suspects: Sequence[Suspect]
    at: Sequence[float]
    timed: bool
    moving: int

    @property
    def live(self) -> list[int]:
        return [one.bytes - one.garbage_bytes for one in self.rounds]

    @property
    def rss_gain(self) -> int:
        rss = [one.rss for one in self.rounds if one.rss is not None]
        return rss[-1] - rss[0] if len(rss) > 1 else 0


def judge(evidence: Evidence) -> Verdict:
    """Return the verdict on some rounds."""
    reasons = _doubts(evidence)
    if reasons:
        return Verdict("undecided", "low", _first_material(evidence), tuple(reasons))
    descriptors = _descriptors(evidence)
    guilty = _first_guilty(evidence)
    if descriptors is not None:
        return Verdict("descriptors", "high", guilty)
    native = _is_native(evidence)
    if guilty is not None:
        suspect = evidence.suspects[guilty]
        small = suspect.gained_bytes < 0.05 * max(evidence.rss_gain, 0)
        if not (native and small):
            kind = "reference-leak" if suspect.orphan else "leak"
            return Verdict(kind, _confidence(suspect, evidence), guilty)
    if native:
        return _native(evidence)
    return _no_leak(evidence)


def _native(evidence: Evidence) -> Verdict:
    """Return the verdict on growth outside the heap; its reason is whose that is."""
    memory = [asdict(one) for one in evidence.memory]
    part = outside.main_part(memory)
    return Verdict(
        "native",
        "high" if outside.is_clear(memory) else "medium",
        _first_steady(evidence),
        () if part is None else (part,),
    )


def _doubts(evidence: Evidence) -> list[str]:
    """Return what forbids a verdict."""
    rounds = evidence.rounds
    doubts = []
    if len(rounds) < ROUNDS_FOR_A_VERDICT:
        doubts.append("few-rounds")
    if len({one.process for one in rounds}) > 1:
        doubts.append("different-processes")
    return doubts


def is_material(suspect: Suspect, evidence: Evidence) -> bool:
    """Tell whether a suspect's growth is worth a person's time."""
    if suspect.gained_bytes <= 0:
        return False
    rss = evidence.rounds[-1].rss or evidence.rounds[-1].bytes
    a_day = suspect.bytes_slope * 24
    if evidence.timed and a_day < LEAST_SHARE_A_DAY * rss:
        return False
    growth = max(evidence.live[-1] - evidence.live[0], 0)
    return suspect.gained_bytes >= LEAST_SHARE_OF_GROWTH * growth


def rose_throughout(suspect: Suspect) -> bool:
    """Tell whether a suspect rose in every interval, and not in bursts."""
    return suspect.intervals == len(suspect.counts) - 1


def is_steady(suspect: Suspect) -> bool:
    """Tell growth from a series that happened to rise every time.

    Either its steps are much alike, or it gained far more than such numbers vary.
    """
    series = suspect.bytes if suspect.grows == "size" else suspect.counts
    steps = [b - a for a, b in pairwise(series)]
    if suspect.grows != "size" and suspect.gained < 2 * len(steps):
        return False
    alike = min(steps) >= 0.5 * median(steps)
    unlikely = suspect.gained >= 4 * math.sqrt(max(suspect.counts) + 1)
    return alike or unlikely


def _first_material(evidence: Evidence) -> int | None:
    for place, suspect in enumerate(evidence.suspects):
        if is_material(suspect, evidence):
            return place
    return None


def _first_guilty(evidence: Evidence) -> int | None:
    """Return the first suspect that passes all gates."""
    for place, suspect in enumerate(evidence.suspects):
        if (
            rose_throughout(suspect)
            and suspect.p <= HIGHEST_P
            and is_material(suspect, evidence)
            and is_steady(suspect)
            and not suspect.levels_off
        ):
            return place
    return None


def _first_steady(evidence: Evidence) -> int | None:
    """Return the first suspect that is no chance, however small."""
    for place, suspect in enumerate(evidence.suspects):
        if rose_throughout(suspect) and is_steady(suspect) and not suspect.levels_off:
            return place
    return None


def _confidence(suspect: Suspect, evidence: Evidence) -> str:
    """Say how sure a leak is."""
    steps = [b - a for a, b in pairwise(suspect.counts)]
    by_chance = evidence.moving / math.factorial(min(len(evidence.rounds), 10))
    even = min(steps) >= 0.5 * max(steps) and suspect.gained >= 5 * len(steps)
    if len(evidence.rounds) > ROUNDS_FOR_A_VERDICT and even:
        return "high"
    return "medium" if even or by_chance < 1 else "low"


def _descriptors(evidence: Evidence) -> str | None:
    """Return which open files rise in every interval: `sockets`, `descriptors`."""
    for name in ("sockets", "descriptors"):
        series = [getattr(one, name) for one in evidence.memory]
        if None in series or not rises_throughout(series):
            continue
        if series[-1] - series[0] >= LEAST_DESCRIPTORS:
            return name
    return None


def _is_native(evidence: Evidence) -> bool:
    """Tell whether RSS rises by what the graph does not account for."""
    sizes = [one.outside for one in evidence.memory]
    # What the first snapshot itself cost is not the worker's growth.
    sizes[0] = evidence.memory[0].outside_after
    if any(value is None for value in sizes):
        return False
    series = [value for value in sizes if value is not None]
    gain = series[-1] - series[0]
    rss = evidence.rounds[-1].rss or 0
    steps = [b - a for a, b in pairwise(series)]
    even = min(steps) >= 0.5 * median(steps)
    much = gain >= MUCH_NATIVE_BYTES or (even and gain >= LEAST_NATIVE_SHARE * rss)
    return (
        much
        and gain >= LEAST_NATIVE_BYTES
        and gain >= 0.5 * evidence.rss_gain
        and mann_kendall_p(series) <= HIGHEST_P
        and series[-1] > series[-2]
        and not _dies_down(series)
    )


def _dies_down(series: Sequence[int]) -> bool:
    steps = [b - a for a, b in pairwise(series)]
    half = len(steps) // 2
    return sum(steps[-half:]) < 0.35 * sum(steps[:half])


def _garbage_piles_up(evidence: Evidence) -> bool:
    """Tell whether garbage grew in every interval, by more than what lives."""
    garbage = [one.garbage_bytes for one in evidence.rounds]
    gain = garbage[-1] - garbage[0]
    live = evidence.live
    return (
        rises_throughout(garbage)
        and gain > live[-1] - live[0]
        and gain > FLAT * evidence.rounds[-1].bytes
    )


def _rises_steadily(live: Sequence[int], at: Sequence[float]) -> bool:
    """Tell whether all that lives grew evenly, though no path of it did."""
    steps = [b - a for a, b in pairwise(live)]
    gain = live[-1] - live[0]
    return (
        rises_throughout(live)
        and gain >= max(LEAST_DRIFT_BYTES, LEAST_DRIFT * live[-1])
        and min(steps) >= 0.5 * median(steps)
        and not levels_off(live, at)
    )


def _no_leak(evidence: Evidence) -> Verdict:
    live = evidence.live
    if _garbage_piles_up(evidence):
        return Verdict("undecided", "low", None, ("garbage",))
    filling = [s for s in evidence.suspects if s.levels_off]
    for place, suspect in enumerate(evidence.suspects):
        if not rose_throughout(suspect) and not suspect.levels_off:
            return Verdict("undecided", "low", place, ("bursts",))
    if not filling and _rises_steadily(live, evidence.at):
        reasons = ("rises-without-a-path",)
        return Verdict("undecided", "low", _first_material(evidence), reasons)
    spread = max(live) - min(live)
    long = not evidence.timed or (evidence.at[-1] - evidence.at[0]) * 3600 >= LONG_S
    sure = "high" if long and not filling else "medium"
    flat = not filling and spread <= FLAT * live[-1]
    return Verdict("nothing-grows" if flat else "plateau", sure)
