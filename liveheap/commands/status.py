"""`status`: who the worker is and how it is, without touching the heap."""

from __future__ import annotations

import os
import time
from collections.abc import Generator

from liveheap import tasks
from liveheap.commands.base import Command, Piece, Step
from liveheap.commands.context import Context
from liveheap.protocol.auth import Scope
from liveheap.protocol.results import Record

MOST_TASKS = 100

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
    ("spools", "count"),
    ("heavy", "text"),
    ("clone", "count"),
    ("clone_memory", "bytes"),
    ("clone_left", "seconds"),
    ("engine", "text"),
    ("version", "text"),
    ("protocol", "count"),
    ("scope", "text"),
    ("scope_ceiling", "text"),
    ("scopes", "list"),
    ("instance", "text"),
    ("generation", "count"),
    ("injected", "bool"),
    ("labels", "text"),
    ("labels_failed", "text"),
    ("running", "count"),
    ("done", "count"),
    ("tasks", "list"),
    ("done_by_name", "list"),
    ("limits", "list"),
    ("lost_audit_lines", "count"),
    ("failures", "count"),
)


def run(ctx: Context) -> Generator[Step | Piece, None, Record]:
    """Show who the worker is and how it is.

    Program, age, memory, threads, open files, collector, and whether the engine
    works in it; which tasks run, on what and for how long, and how many are done; on
    a terminal its memory of the last hours as a picture; which scopes the worker's
    owner allows, and what each is for. Costs the worker microseconds; stops nothing.
    """
    facts = {**ctx.facts(), "greenlets": ctx.greenlets(), **describe_tasks(ctx)}
    yield from ()
    return Record(
        tuple(
            (name, unit, facts[name])
            for name, unit in FIELDS
            if facts.get(name) is not None
        )
    )


def describe_tasks(ctx: Context) -> dict[str, object]:
    """Return what runs, the longest first, and what is done; ids in scope graph."""
    running = sorted(ctx.tasks(), key=lambda task: task.started)
    done = sorted(ctx.done().items(), key=lambda item: -item[1])
    if not running and not done:
        return {}
    now, with_ids = time.monotonic(), ctx.scope >= Scope.GRAPH
    return {
        "running": len(running),
        "done": sum(count for _, count in done),
        "tasks": [
            {
                "kind": task.kind,
                "name": task.name,
                "id": task.id if with_ids else None,
                "seconds": round(now - task.started, 3),
                "holder": task.holder,
                "address": task.address if with_ids else None,
                "thread": thread_number(ctx, task.thread),
            }
            for task in running[:MOST_TASKS]
        ],
        "done_by_name": [
            {"name": name, "count": count} for name, count in done[:MOST_TASKS]
        ],
    }


def thread_number(ctx: Context, ident: int) -> int | None:
    """Return the kernel's number of a thread; the main thread's is the process's."""
    is_main = ident == tasks.REGISTRY.main_ident
    return os.getpid() if is_main else ctx.thread_id(ident)


STATUS = Command(
    name="status",
    scope=Scope.READ,
    heavy=False,
    help=run.__doc__ or "",
    params=(),
    run=run,
)
