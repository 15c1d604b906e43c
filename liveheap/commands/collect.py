"""`gc`: one full garbage collection, on the worker's main thread.

The thread matters. A finalizer that puts something into a gevent queue wakes nobody
if it runs on a foreign thread, and one that blocks makes a second hub there. So the
collection goes to the main thread where that can be had, and the answer says who did
it: `hub`, `loop`, `main` (between two instructions of the main thread) or `agent`
(nobody else came: a main thread that sits in a lock or a system call).
"""

from __future__ import annotations

import gc
import time
from collections.abc import Generator

from liveheap.commands.base import Command, Piece, Step
from liveheap.commands.context import Context
from liveheap.commands.owner import refuse_above_owners
from liveheap.protocol.auth import Scope
from liveheap.protocol.results import Record

NS_PER_OBJECT = 200


def permit(ctx: Context) -> None:
    """Raise unless a collection may be made now.

    How long it stops the worker is foretold from the number of objects, and held
    against what the worker's owner allows at most.
    """
    expected_ms = ctx.heap.facts().estimated_objects * NS_PER_OBJECT / 1e6
    refuse_above_owners(ctx, "a collection", expected_ms)
    ctx.may_again("gc", ctx.rails.gc_every)


def collect() -> tuple[int, int, float]:
    """Collect all generations: what was collected, what could not be, seconds."""
    before = sum(stats["uncollectable"] for stats in gc.get_stats())
    began = time.perf_counter()
    collected = gc.collect()
    seconds = time.perf_counter() - began
    after = sum(stats["uncollectable"] for stats in gc.get_stats())
    return collected, after - before, seconds


def run(ctx: Context) -> Generator[Step | Piece, None, Record]:
    """Run one full garbage collection in the worker.

    The worker stops until it is done: about 0.2 s for a million objects. Refused if
    that exceeds what its owner allows. Its finalizers run. At most once in ten seconds.
    """
    permit(ctx)
    yield Step("gc")
    via, (collected, uncollectable, seconds) = ctx.on_main(collect)
    return Record(
        (
            ("via", "text", via),
            ("collected", "count", collected),
            ("uncollectable", "count", uncollectable),
            ("seconds", "seconds", seconds),
        )
    )


GC = Command(
    name="gc",
    scope=Scope.READ,
    heavy=True,
    help=run.__doc__ or "",
    params=(),
    run=run,
)
