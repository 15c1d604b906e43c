"""`history`: the worker's figures over the last hours and days, nobody watching."""

from __future__ import annotations

import time
from collections.abc import Generator

from liveheap import history
from liveheap.commands.base import Command, Piece, Step
from liveheap.commands.context import Context
from liveheap.protocol.auth import Scope
from liveheap.protocol.results import Column, Table

COLUMNS = (
    Column("time", "time"),
    Column("rss", "bytes"),
    Column("peak", "bytes"),
    Column("descriptors", "count"),
    Column("full_collections", "count"),
    Column("done", "count"),
)


def run(ctx: Context) -> Generator[Step | Piece, None, Table]:
    """Show the memory of the last hours and days, as the agent noted it.

    Every minute of the last three hours, then ever coarser: resident size
    (least and most), open files, full collections, tasks done. Costs the worker
    microseconds; stops nothing.
    """
    yield from ()
    boot = time.time() - history.now()
    return Table(
        COLUMNS,
        tuple(
            (
                round(boot + each.at, 1),
                each.rss,
                each.peak,
                each.descriptors,
                each.collections,
                each.done,
            )
            for each in ctx.figures()
        ),
    )


HISTORY = Command(
    name="history",
    scope=Scope.READ,
    heavy=False,
    help=run.__doc__ or "",
    params=(),
    run=run,
)
