"""`histogram`: objects and bytes by type."""

from __future__ import annotations

from collections.abc import Generator

from liveheap.commands.base import Command, Param, Piece, Step
from liveheap.commands.context import Context, TypeCount
from liveheap.protocol.auth import Scope
from liveheap.protocol.results import Column, Table

COLUMNS = (Column("type", "text"), Column("count", "count"), Column("bytes", "bytes"))
MOST_ROWS = 5000
LONGEST_NAME = 256


def run(ctx: Context, *, top: int) -> Generator[Step | Piece, None, Table]:
    """Count objects and their bytes by type, the largest first.

    The worker stops for as long as one fork takes, some milliseconds; where no fork
    may be made, for the whole count.
    """
    yield Step("walk")
    counted = ctx.heap.histogram(
        spool_directory=ctx.spool_directory,
        own_threads=ctx.own_threads,
        cancelled=ctx.check,
    )
    rows = sorted(counted.rows, key=lambda row: (-row.bytes, row.module, row.name))
    yield Step(
        "done",
        done=sum(row.count for row in rows),
        detail={
            "bytes": sum(row.bytes for row in rows),
            "types": len(rows),
            "pause_ns": counted.pause_ns,
            "walk_ns": counted.walk_ns,
            "in_process": counted.in_process,
            "flags": list(counted.flags),
        },
    )
    return Table(
        COLUMNS,
        tuple((full_name(row), row.count, row.bytes) for row in rows[:top]),
    )


def full_name(row: TypeCount) -> str:
    """Return the type's name with its module; the host may have named it anything."""
    name = f"{row.module}.{row.name}" if row.module else row.name
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


HISTOGRAM = Command(
    name="histogram",
    scope=Scope.READ,
    heavy=True,
    help=run.__doc__ or "",
    params=(
        Param(
            "top", int, 30, "show this many types", "N", minimum=1, maximum=MOST_ROWS
        ),
    ),
    run=run,
)
