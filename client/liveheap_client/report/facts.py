"""Who was looked at, when, and what weakens the answer: from files' headers.

A header is a file's word. A key may be absent or of the wrong kind; then the page is
silent about it, and a host is only named if the file names one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from liveheap_client.quantities import human_bytes, human_count, human_seconds
from liveheap_client.render.escape import visible
from liveheap_client.render.flags import reservations
from liveheap_client.render.table import middle_cut
from liveheap_client.report.markup import Markup, tag
from liveheap_client.report.suspects import Axis
from liveheap_client.report.tables import Column, table

Rounds = Sequence[Mapping[str, Any]]
MOST_NAMED = 4
LONGEST_NAME = 80

_COLUMNS = (
    Column("File", code=True),
    Column("Taken"),
    Column("Process", "id"),
    Column("Objects", "count"),
    Column("References", "count"),
    Column("Heap", "bytes"),
    Column("RSS", "bytes"),
    Column("Pause", "seconds"),
)


def worker(rounds: Rounds) -> str:
    """Name the process that the rounds are of, or say that they are of several."""
    keys = ("hostname", "pid", "start_time", "instance")
    known = {tuple(str(one.get(key)) for key in keys) for one in rounds}
    if len(known) > 1:
        return f"{len(known)} different processes"
    program, pid = rounds[-1].get("program"), rounds[-1].get("pid")
    known_name = isinstance(program, str) and program
    name = middle_cut(visible(program), LONGEST_NAME) if known_name else "a worker"
    return f"{name}, pid {pid}" if isinstance(pid, int) else name


def facts(rounds: Rounds) -> Markup:
    """Return what is known of the worker and its rounds."""
    known = [("Worker", worker(rounds))]
    for name, key in (("Host", "hostname"), ("Python", "python")):
        texts = (one.get(key) for one in rounds)
        values = list(dict.fromkeys(t for t in texts if isinstance(t, str) and t))
        if values:
            more = " and others" if len(values) > MOST_NAMED else ""
            known.append((name, ", ".join(values[:MOST_NAMED]) + more))
    moments = _numbers(rounds, "created")
    if moments:
        known.append(("Taken", moment(moments[0])))
    if len(moments) > 1:
        span = human_seconds(max(moments[-1] - moments[0], 0))
        known.append(("Rounds", f"{len(rounds)} in {span}"))
    known += _from_to("Objects", rounds, "nodes", whole)
    known += _from_to("Heap", rounds, "bytes", human_bytes)
    known += _from_to("RSS", rounds, "rss", human_bytes)
    pauses = _numbers(rounds, "pause_ns")
    if pauses:
        known.append(("Longest pause", human_seconds(max(pauses) / 1e9)))
    items = [tag("div", tag("dt", name), tag("dd", value)) for name, value in known]
    return tag("dl", items, class_="facts")


def weaknesses(rounds: Rounds) -> list[str]:
    """Return what weakens single rounds; what all of them say is said once."""
    found: dict[str, list[str]] = {}
    for one in rounds:
        words = reservations(one.get("flags"))
        if one.get("complete") is False:
            words.append(f"truncated: {one.get('reason') or 'the walk did not end'}")
        for word in words:
            found.setdefault(word, []).append(str(one.get("file", "a round")))
    return [
        word
        if len(names) == len(rounds)
        else f"{', '.join(names[:MOST_NAMED])}: {word}"
        for word, names in found.items()
    ]


def rounds_table(rounds: Rounds) -> Markup:
    """Return the rounds, one a row."""
    rows = []
    for one in rounds:
        created, pause = one.get("created"), one.get("pause_ns")
        rows.append(
            (
                one.get("file", ""),
                moment(created),
                *(
                    _maybe(one.get(k))
                    for k in ("pid", "nodes", "edges", "bytes", "rss")
                ),
                pause / 1e9 if is_number(pause) and pause is not None else None,
            )
        )
    return table("rounds", "rounds", _COLUMNS, rows)


def axis(rounds: Rounds, *, per: str) -> Axis:
    """Return where the rounds stand in time; if they do not say, by their numbers."""
    moments = _numbers(rounds, "created")
    if len(moments) == len(rounds) and moments == sorted(set(moments)):
        ends = moment(moments[0], "%H:%M:%S"), moment(moments[-1], "%H:%M:%S")
        return Axis(moments, ends, per)
    return Axis([*range(len(rounds))], ("round 1", f"round {len(rounds)}"), per)


def moment(value: object, form: str = "%Y-%m-%d %H:%M:%S UTC") -> str:
    """Return a time of a header as text."""
    try:
        return time.strftime(form, time.gmtime(float(str(value))))
    except (OverflowError, ValueError, OSError):
        return "unknown"


def whole(value: float) -> str:
    """Return a number of things."""
    return human_count(int(value))


def is_number(value: object) -> bool:
    """Return whether a header's value is a number one can count with."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)


def _maybe(value: Any) -> Any:
    return value if is_number(value) else None


def _numbers(rounds: Rounds, key: str) -> list[float]:
    return [one[key] for one in rounds if is_number(one.get(key))]


def _from_to(
    name: str, rounds: Rounds, key: str, form: Callable[[float], str]
) -> list[tuple[str, str]]:
    values = _numbers(rounds, key)
    if len(values) != len(rounds):
        return []
    ends = values if len(values) == 1 else [values[0], values[-1]]
    return [(name, " → ".join(map(form, ends)))]
