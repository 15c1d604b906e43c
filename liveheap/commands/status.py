"""`status`: who the worker is and how it is, without touching the heap."""

from __future__ import annotations

from collections.abc import Generator

from liveheap.commands.base import Command, Piece, Step
from liveheap.commands.context import Context
from liveheap.protocol.auth import Scope
from liveheap.protocol.results import Record

# Every fact that `Context.facts` may hold, in the order in which it is shown, and
# its unit. A fact that does not apply (greenlets without gevent) is left out.
FIELDS = (
    ("pid", "count"),
    ("program", "text"),
    ("name", "text"),
    ("kind", "text"),
    ("role", "text"),
    ("pool", "text"),
    ("framework", "text"),
    ("python", "text"),
    ("implementation", "text"),
    ("hostname", "text"),
    ("started", "time"),
    ("uptime", "seconds"),
    ("rss", "bytes"),
    ("settled_rss", "bytes"),
    ("threads", "count"),
    ("greenlets", "count"),
    ("descriptors", "count"),
    ("gc_counts", "list"),
    ("gc_enabled", "bool"),
    ("sessions", "count"),
    ("heavy", "text"),
    ("engine", "text"),
    ("version", "text"),
    ("protocol", "count"),
    ("scope_ceiling", "text"),
    ("instance", "text"),
    ("generation", "count"),
    ("injected", "bool"),
    ("lost_audit_lines", "count"),
    ("failures", "count"),
)


def run(ctx: Context) -> Generator[Step | Piece, None, Record]:
    """Show who the worker is and how it is.

    Program, age, memory, threads, open files, collector, and whether the engine
    works in it; on a terminal its memory of the last hours as a picture. Costs the
    worker microseconds; stops nothing.
    """
    facts = {**ctx.facts(), "greenlets": ctx.greenlets()}
    yield from ()
    return Record(
        tuple(
            (name, unit, facts[name])
            for name, unit in FIELDS
            if facts.get(name) is not None
        )
    )


STATUS = Command(
    name="status",
    scope=Scope.READ,
    heavy=False,
    help=run.__doc__ or "",
    params=(),
    run=run,
)
