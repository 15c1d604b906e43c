"""Do several workers leak alike? Their reports side by side, by their fingerprints.

Workers of one program that leak at one place leak by one bug, and to look into one of
them is enough. What they have in common is the fingerprint: the path without addresses,
values and line numbers. In each report the suspects that gained throughout count, not
only the first: of two leaks with equal rates another one comes first in every worker.
What grows by next to nothing beside the first is chance, and all workers have it.
What has no path (native memory, descriptors) is alike if its kind is.

Workers are ranked by how fast the leak of their verdict grows, those that have none by
how much they gained.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from liveheap_client.quantities import human_bytes, signed

MOST_OF_ONE = 5
LEAST_SHARE = 0.05
MOST_LEAKS = 26
LEAKS = frozenset({"leak", "reference-leak", "descriptors", "native"})
NO_LEAKS = frozenset({"plateau", "nothing-grows"})
_PER = {"hour": "an hour", "round": "a round"}

Report = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Leak:
    """One place, and the workers that leak there, the fastest first."""

    label: str
    fingerprint: str
    what: str
    workers: tuple[str, ...]
    bytes_slope: float


@dataclass(frozen=True, slots=True)
class Standing:
    """One worker among the others."""

    worker: str
    verdict: str
    rss: int | None
    gained: int
    bytes_slope: float
    leaks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kinship:
    """All workers, the worst first, and what they have in common."""

    sentence: str
    per: str
    workers: tuple[Standing, ...]
    leaks: tuple[Leak, ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    fingerprint: str
    what: str
    worker: str
    bytes_slope: float


def kinship(reports: Mapping[str, Report]) -> Kinship:
    """Compare the reports of workers, by the workers' names."""
    seen = [one for name, report in reports.items() for one in _accused(name, report)]
    leaks = _gathered(seen)
    workers = sorted(
        (_standing(name, report, leaks) for name, report in reports.items()),
        key=lambda one: (one.verdict not in LEAKS, -one.bytes_slope, -one.gained),
    )
    per = "hour" if all(r["per"] == "hour" for r in reports.values()) else "round"
    return Kinship(_sentence(workers, leaks, per), per, tuple(workers), tuple(leaks))


def _accused(name: str, report: Report) -> Iterator[_Seen]:
    """Yield what a worker may leak: all that gained throughout, the verdict's first."""
    kind, first = report["verdict"]["kind"], report["verdict"]["suspect"]
    if kind in NO_LEAKS:
        return
    suspects = list(report["suspects"])
    if first is not None:
        suspects.insert(0, suspects.pop(first))
    elif kind in LEAKS:
        suspects = []
        yield _Seen(kind, _SAID[kind], name, max(_rss_slope(report), 0.0))
    throughout = len(report["rounds"]) - 1
    lasting = [
        one
        for one in suspects
        if one["intervals"] == throughout and not one["levels_off"]
    ]
    much = max((one["bytes_slope"] for one in lasting), default=0) * LEAST_SHARE
    lasting = [one for one in lasting if one["bytes_slope"] > much]
    for one in lasting[:MOST_OF_ONE]:
        yield _Seen(one["fingerprint"], _what(one), name, one["bytes_slope"])


_SAID = {
    "native": "native memory, outside the Python heap",
    "descriptors": "open files and sockets",
}


def _what(suspect: Mapping[str, Any]) -> str:
    if suspect["orphan"]:
        return f"{suspect['type']} that only C refers to"
    place = suspect["holder"] or suspect["waits_in"] or suspect["path"]
    kind = suspect["holder_type"] if suspect["holder"] else None
    gains = f", gains {suspect['type']}" if suspect["grows"] == "count" else ""
    return f"{place}{f' ({kind})' if kind else ''}{gains}"


def _gathered(seen: Sequence[_Seen]) -> list[Leak]:
    """Return the leaks: those that workers share first, of these the fastest first."""
    together: dict[str, list[_Seen]] = {}
    for one in seen:
        together.setdefault(one.fingerprint, []).append(one)
    found = sorted(
        together.values(),
        key=lambda ones: (len(ones) < 2, -sum(one.bytes_slope for one in ones)),
    )
    return [
        Leak(
            label=chr(ord("A") + place),
            fingerprint=ones[0].fingerprint,
            what=ones[0].what,
            workers=tuple(
                one.worker for one in sorted(ones, key=lambda one: -one.bytes_slope)
            ),
            bytes_slope=sum(one.bytes_slope for one in ones),
        )
        for place, ones in enumerate(found[:MOST_LEAKS])
    ]


def _standing(name: str, report: Report, leaks: Sequence[Leak]) -> Standing:
    rss = [size for size in report["rss"] if size is not None]
    kind, suspect = report["verdict"]["kind"], report["verdict"]["suspect"]
    slope = 0.0
    if suspect is not None:
        slope = report["suspects"][suspect]["bytes_slope"]
    elif kind in LEAKS:
        slope = _rss_slope(report)
    return Standing(
        worker=name,
        verdict=kind,
        rss=rss[-1] if rss else None,
        gained=rss[-1] - rss[0] if rss else 0,
        bytes_slope=slope,
        leaks=tuple(leak.label for leak in leaks if name in leak.workers),
    )


def _rss_slope(report: Report) -> float:
    """Return how fast RSS grew: the median of the rounds' steps, per what they say."""
    rss = [size or 0 for size in report["rss"]]
    steps = sorted(after - before for before, after in pairwise(rss))
    if not steps:
        return 0.0
    taken = [one["created"] for one in report["rounds"]]
    lasted = taken[-1] - taken[0] if None not in taken else 0
    step = steps[len(steps) // 2]
    if report["per"] == "hour" and lasted > 0:
        return step * 3600 * len(steps) / lasted
    return float(step)


def _sentence(workers: Sequence[Standing], leaks: Sequence[Leak], per: str) -> str:
    """Say in how many workers, whether alike, and where."""
    total = f"{len(workers)} worker{'' if len(workers) == 1 else 's'}"
    judged = any(one.verdict in LEAKS for one in workers)
    does, do = ("leaks", "leak") if judged else ("grows", "grow")
    if not leaks:
        open_ = sum(one.verdict not in NO_LEAKS for one in workers)
        if open_:
            return f"None of {total} is seen to grow; {open_} cannot be judged yet."
        return f"None of {total} leaks."
    first = leaks[0]
    rate = f"{signed(human_bytes(first.bytes_slope))} {_PER[per]} in all"
    if len(first.workers) > 1:
        return f"{len(first.workers)} of {total} {do} alike: {first.what}, {rate}."
    ill = {name for leak in leaks for name in leak.workers}
    if len(ill) > 1:
        return f"{len(ill)} of {total} {do}, each its own way; first {first.what}."
    return f"1 of {total} {does}: {first.what}, {rate}."
