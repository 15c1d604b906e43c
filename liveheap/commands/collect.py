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
from liveheap.protocol.auth import Scope
from liveheap.protocol.results import Record


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

    The worker stops until it is done: about 0.2 s for a million objects, outside
    any pause limit. Its finalizers run. At most once in ten seconds.
    """
    ctx.may_collect()
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
