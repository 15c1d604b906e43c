"""The growth report as text: suspects first, then types, then the process.

Works on the report's JSON form, so it needs no numpy and shows what `--json` shows.
It is prose for a person, also in a pipe: units are always human, programs read --json.
"""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from liveheap.protocol.results import Column
from liveheap_client.render.escape import visible
from liveheap_client.render.table import Look, middle_cut, table
from liveheap_client.render.units import (
    human_bytes,
    human_count,
    human_seconds,
    signed,
)

_MOST_SUSPECTS = 10
_MOST_TYPES = 10
_MOST_ROUNDS_SHOWN = 6
_WIDTH = 80
_LONGEST_PATH = 2000

Report = Mapping[str, Any]


def round_line(
    number: int,
    rounds: int,
    *,
    clock: str,
    header: Mapping[str, Any],
    trailer: Mapping[str, Any],
) -> str:
    """Return the one line that tells of a round as soon as it is there."""
    pause = human_seconds(_number(trailer, "pause_ns") / 1e9)
    line = (
        f"round {number}/{rounds}  {clock}  "
        f"{human_count(int(_number(trailer, 'nodes')))} objects  "
        f"{human_bytes(_number(trailer, 'bytes'))}  "
        f"RSS {human_bytes(_number(header, 'rss'))}  pause {pause}"
    )
    return line if trailer.get("complete") is True else f"{line}  TRUNCATED"


def lines(report: Report, *, look: Look) -> Iterator[str]:
    """Yield the whole report."""
    throughout = len(report["rounds"]) - 1
    suspects = [s for s in report["suspects"] if s["intervals"] == throughout]
    yield from _heading(report, suspects)
    for place, suspect in enumerate(suspects[:_MOST_SUSPECTS], 1):
        yield ""
        yield from _suspect(place, suspect, look)
    more = len(suspects) - _MOST_SUSPECTS + report["more_suspects"]
    if more > 0:
        yield ""
        yield f"... and {more} more that gained less; --json has them"
    grown = [row for row in report["types"] if _gain(row["counts"]) > 0]
    if grown:
        yield ""
        yield from _types(grown[:_MOST_TYPES], look)


def _heading(report: Report, shown: Sequence[object]) -> Iterator[str]:
    """Yield the answer in a sentence, what weakens it, and the RSS."""
    suspects = len(shown) + report["more_suspects"]
    n_rounds = len(report["rounds"])
    yield ""
    yield from _verdict(report)
    if not suspects:
        yield f"No path gained objects in each of {n_rounds} rounds."
    elif suspects == 1:
        yield f"One path gained objects in each of {n_rounds} rounds."
    else:
        yield f"{suspects} paths gained objects in each of {n_rounds} rounds."
    for note in report["notes"]:
        yield from textwrap.wrap(visible(note, longest=1000), _WIDTH - 1)
    rss = [size for size in report["rss"] if size is not None]
    if len(rss) > 1:
        gain = signed(human_bytes(rss[-1] - rss[0]))
        yield f"RSS {human_bytes(rss[0])} -> {human_bytes(rss[-1])} ({gain})"


def _verdict(report: Report) -> Iterator[str]:
    """Yield what the rounds come to; of too few a note says that they do not yet."""
    verdict = report["verdict"]
    if "few-rounds" in verdict["reasons"]:
        return
    sentence = visible(verdict["sentence"], longest=_LONGEST_PATH)
    yield from textwrap.wrap(sentence, _WIDTH - 1, break_on_hyphens=False)
    yield f"verdict: {verdict['kind']}, confidence {verdict['confidence']}"


def _suspect(place: int, suspect: Mapping[str, Any], look: Look) -> Iterator[str]:
    first, *more = _wrapped(visible(suspect["path"], longest=_LONGEST_PATH), look)
    yield look.strong(f"{place}. {first}")
    yield from (f"     {line}" for line in more)
    objects = signed(_rate(suspect["growth_per_round"]))
    size = signed(human_bytes(suspect["bytes_per_round"]))
    yield f"   {objects} objects and {size} a round"
    yield f"   objects  {_series(suspect['counts'], human_count)}"
    yield f"   bytes    {_series(suspect['bytes'], human_bytes)}"
    for depth, step in enumerate(suspect["retaining_path"]):
        line = f"   {'held by' if not depth else '       '}  {visible(step)}"
        yield line if look.width is None else middle_cut(line, look.width)


def _rate(value: float) -> str:
    return human_count(round(value, 1) if value % 1 else int(value))


def _types(rows: Sequence[Mapping[str, Any]], look: Look) -> list[str]:
    columns = (
        Column("type", "text"),
        Column("first", "count"),
        Column("last", "count"),
        Column("gained", "count"),
        Column("bytes gained", "bytes"),
    )
    cells = [
        [
            row["type"],
            row["counts"][0],
            row["counts"][-1],
            _gain(row["counts"]),
            _gain(row["bytes"]),
        ]
        for row in rows
    ]
    return table(columns, cells, look=replace(look, human=True))


def _wrapped(path: str, look: Look) -> list[str]:
    """Break a long path where its steps meet, if a person looks."""
    if look.width is None:
        return [path]
    return textwrap.wrap(path, max(look.width - 5, 40), break_on_hyphens=False) or [""]


def _series(values: Sequence[float], form: Any) -> str:
    """Return `1 -> 2 -> 3`, with the middle left out if there are many."""
    shown = [form(value) for value in values]
    if len(shown) > _MOST_ROUNDS_SHOWN:
        half = _MOST_ROUNDS_SHOWN // 2
        shown = [*shown[:half], "...", *shown[-half:]]
    return " -> ".join(shown)


def _gain(values: Sequence[float]) -> float:
    return values[-1] - values[0]


def _number(facts: Mapping[str, Any], name: str) -> float:
    value = facts.get(name)
    return value if isinstance(value, int | float) else 0
