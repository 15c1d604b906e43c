"""The workers of a host as a table: each tree drawn, a worker's memory and work beside.

Works on the rows of `ps --json`, from here or from a bridge of another version: a fact
may be missing, and everything in it is another program's text. A narrow screen loses
the columns that matter least; a pipe gets all of them, and no drawing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, TypeGuard

from liveheap.protocol.results import Column
from liveheap_client.render.escape import visible
from liveheap_client.render.narrow import fitting
from liveheap_client.render.table import Look
from liveheap_client.render.units import human_bytes, human_seconds

Row = Mapping[str, Any]

_MUTE = {"silent": "not answering", "refused": "refused", "stopped": "stopped"}
_LONGEST_NAME = 40
_ELASTIC = frozenset({"program", "running"})
_GOES = ["python", "shared", "uss", "done", "framework", "grown", "uptime", "running"]


@dataclass(frozen=True, slots=True)
class _Shown:
    """A column, and what it shows of a row."""

    column: Column
    cell: Callable[[Row], object]


def _fact(name: str) -> Callable[[Row], object]:
    return lambda row: row.get(name)


def _figure(name: str) -> Callable[[Row], object]:
    """Show a number; what is none, or is endless, is as if it were not known."""
    return lambda row: row.get(name) if _is_figure(row.get(name)) else None


def _is_figure(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int) or (isinstance(value, float) and isfinite(value))


def _framework(row: Row) -> str | None:
    """Return `celery/prefork`, `gunicorn/gevent`, `gevent`."""
    framework, pool = row.get("framework"), str(row.get("pool") or "")
    if pool in str(framework):
        return framework if framework is None else str(framework)
    return f"{framework}/{pool}" if framework else pool or None


def _doing(row: Row) -> str | None:
    """Return what runs, and that somebody explores a clone of it."""
    running = _running(row)
    if not isinstance(row.get("clone"), int):
        return running
    return "a clone" if running in (None, "-") else f"{running}, a clone"


def _running(row: Row) -> str | None:
    """Return the task that runs longest, its age, and how many run beside it."""
    mute = _MUTE.get(str(row.get("state")))
    if mute is not None:
        return mute
    running, tasks = row.get("running"), row.get("tasks")
    if not isinstance(running, int):
        return None
    if not isinstance(tasks, list) or not tasks or not isinstance(tasks[0], Mapping):
        return str(running) if running else "-"
    told = visible(tasks[0].get("task", "?"), longest=_LONGEST_NAME)
    age = tasks[0].get("longest")
    told += f" {human_seconds(age)}" if _is_figure(age) else ""
    return told if running == 1 else f"{told} +{running - 1}"


def _name(row: Row) -> str:
    return str(row.get("name") or row.get("program") or "?")


_HOST = _Shown(Column("host", "text"), _fact("host"))
_SHOWN = (
    _Shown(Column("pid", "id"), _fact("pid")),
    _Shown(Column("program", "text"), _name),
    _Shown(Column("role", "text"), lambda row: row.get("role") or row.get("kind")),
    _Shown(Column("framework", "text"), _framework),
    _Shown(Column("python", "text"), _fact("python")),
    _Shown(Column("rss", "bytes"), _figure("rss")),
    _Shown(Column("uss", "bytes"), _figure("uss")),
    _Shown(Column("shared", "bytes"), _figure("shared")),
    _Shown(Column("grown", "bytes"), _figure("grown")),
    _Shown(Column("running", "text"), _doing),
    _Shown(Column("done", "count"), _figure("done")),
    _Shown(Column("uptime", "seconds"), _figure("uptime")),
)


def lines(rows: Sequence[Row], *, look: Look) -> list[str]:
    """Return the table, as wide as the screen allows."""
    names = list(_drawn(rows)) if look.human else [_name(row) for row in rows]
    shown = (_HOST, *_SHOWN) if any("host" in row for row in rows) else _SHOWN
    cells = [
        [name if each.column.name == "program" else each.cell(row) for each in shown]
        for name, row in zip(names, rows, strict=True)
    ]
    return fitting(
        [each.column for each in shown], cells, look=look, goes=_GOES, elastic=_ELASTIC
    )


def total(rows: Sequence[Row]) -> str:
    """Return how many there are, and what they hold together, if all of it is known.

    What a tree shares is there once, so its largest share stands for all of it.
    """
    count = f"{len(rows)} worker{'' if len(rows) == 1 else 's'}"
    own, shared, largest = 0, 0, 0
    for row in rows:
        uss, with_parent = row.get("uss"), row.get("shared")
        if not isinstance(uss, int) or not isinstance(with_parent, int):
            return count
        if not _depth(row):
            shared, largest = shared + largest, 0
        own, largest = own + uss, max(largest, with_parent)
    return f"{count}, {human_bytes(own + shared + largest)} of memory in all"


def _drawn(rows: Sequence[Row]) -> Iterator[str]:
    """Yield each name behind the branches that lead to it."""
    depths = [_depth(row) for row in rows]
    for place, row in enumerate(rows):
        yield _branches(depths, place) + visible(_name(row), longest=_LONGEST_NAME)


def _branches(depths: Sequence[int], place: int) -> str:
    """Return the marks before a name: `│  └─ ` for the last child of a first child."""
    marks = []
    for level in range(1, depths[place] + 1):
        goes_on = False
        for depth in depths[place + 1 :]:
            if depth <= level:
                goes_on = depth == level
                break
        if level == depths[place]:
            marks.append("├─ " if goes_on else "└─ ")
        else:
            marks.append("│  " if goes_on else "   ")
    return "".join(marks)


def _depth(row: Row) -> int:
    depth = row.get("depth")
    return min(depth, 20) if isinstance(depth, int) and depth > 0 else 0
