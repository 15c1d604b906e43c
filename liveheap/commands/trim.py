"""`trim`: have malloc give back the free memory that it keeps.

`malloc_trim(0)`, which goes through all arenas and gives whole free pages back. What
pymalloc keeps in its arenas cannot be given back by anybody but their last object.

It holds the lock of each arena while it is in it, and who calls malloc meanwhile waits.
For how long is foretold (`memory.trim_seconds`), and refused above a limit.
"""

from __future__ import annotations

from collections.abc import Generator

from liveheap.commands.base import Command, Param, Piece, Step, max_pause
from liveheap.commands.context import Context
from liveheap.commands.memory import LONGEST_S, trim_seconds
from liveheap.commands.owner import refuse_above_owners, refuse_force
from liveheap.errors import CommandError
from liveheap.protocol.auth import Scope
from liveheap.protocol.results import Record


def run(
    ctx: Context, *, max_pause_ms: float, force: bool
) -> Generator[Step | Piece, None, Record]:
    """Give back to the system what malloc keeps free.

    Calls malloc_trim(0). Who calls malloc in the worker meanwhile waits, 0.1 s or more
    in a large and fragmented heap; refused if that would exceed --max-pause-ms, unless
    --force is given. Collects no garbage, and cannot empty Python's own arenas. At most
    once in ten seconds.
    """
    refuse_force(ctx, force)
    yield Step("memory")
    allocators = ctx.heap.allocators
    glibc = allocators.names()["glibc"]
    before = allocators.residence(LONGEST_S)
    expected = trim_seconds(before) * 1000
    if glibc is None:
        raise CommandError("unsupported", "malloc is not glibc's here: it has no trim")
    refuse_above_owners(ctx, "a trim", expected)
    if expected > max_pause_ms and not force:
        raise CommandError(
            "refused",
            f"whoever calls malloc would wait for about {expected:.0f} ms, and "
            f"{max_pause_ms:g} ms are allowed",
            hint=f"allow it with --max-pause {expected * 1.3:.0f} or --force",
            detail={"cause": "pause"},
        )
    ctx.may_again("trim", ctx.rails.trim_every)
    yield Step("trim")
    seconds = allocators.trim()
    yield Step("memory")
    after = allocators.residence(LONGEST_S)
    return Record(
        (
            ("given_back", "bytes", max(before["rss"] - after["rss"], 0)),
            ("rss_before", "bytes", before["rss"]),
            ("rss_after", "bytes", after["rss"]),
            ("malloc_free_before", "bytes", before["malloc_free"]),
            ("malloc_free_after", "bytes", after["malloc_free"]),
            ("pool_free", "bytes", after["pool_free"]),
            ("seconds", "seconds", seconds),
        )
    )


TRIM = Command(
    name="trim",
    scope=Scope.READ,
    heavy=True,
    help=run.__doc__ or "",
    params=(
        max_pause("refuse if somebody might wait longer for malloc"),
        Param("force", bool, False, "do it however long that takes"),
    ),
    run=run,
)
