"""`tasks`: what runs and what ran, by name, and what each name leaves behind."""

from __future__ import annotations

import time
from collections.abc import Generator

from liveheap.commands.base import Command, Piece, Step
from liveheap.commands.context import Context
from liveheap.deltas import Left
from liveheap.protocol.auth import Scope
from liveheap.protocol.results import Column, Table

COLUMNS = (
    Column("task", "text"),
    Column("running", "count"),
    Column("longest", "seconds"),
    Column("done", "count"),
    Column("measured", "count"),
    Column("overlapped", "count"),
    Column("rss_first", "bytes"),
    Column("rss_mean", "bytes"),
    Column("rss_max", "bytes"),
    Column("blocks_first", "count"),
    Column("blocks_mean", "count"),
    Column("blocks_max", "count"),
)


def run(ctx: Context) -> Generator[Step | Piece, None, Table]:
    """Show the tasks by name: running, done, and what they leave behind.

    Resident bytes and memory blocks are told of tasks that ran alone, and of as many
    as a tenth of a percent of the worker's time allows; tasks that overlap are counted
    and not measured: beside others, the figures would be those of all. The first run
    of a name, which pays for imports, stands apart from mean and maximum. A mean above
    zero over hundreds of runs is a sign; a single figure is none. Costs the worker
    microseconds; stops nothing.
    """
    yield from ()
    now = time.monotonic()
    since: dict[str, list[float]] = {}
    for task in ctx.tasks():
        since.setdefault(task.name, []).append(task.started)
    done, overlapped, left = ctx.done(), ctx.overlapped(), ctx.left_behind()
    names = {**done, **since, **left}
    rows = [
        (
            name,
            len(since.get(name, ())),
            round(now - min(since[name]), 3) if name in since else None,
            done.get(name, 0),
            *figures(left.get(name), overlapped.get(name, 0)),
        )
        for name in names
    ]
    return Table(COLUMNS, tuple(sorted(rows, key=lambda row: (-row[1], -row[3]))))


def figures(left: Left | None, overlapped: int) -> tuple[int | float | None, ...]:
    """Return what one name's tasks left, from `measured` on; None is not known."""
    if left is None:
        return 0, overlapped, *[None] * 6
    again = left.measured - 1
    return (
        left.measured,
        overlapped,
        left.first_rss if left.measured else None,
        round(left.rss_sum / again) if again > 0 else None,
        left.rss_max if again > 0 else None,
        left.first_blocks if left.measured else None,
        round(left.blocks_sum / again, 2) if again > 0 else None,
        left.blocks_max if again > 0 else None,
    )


TASKS = Command(
    name="tasks",
    scope=Scope.READ,
    heavy=False,
    help=run.__doc__ or "",
    params=(),
    run=run,
)
