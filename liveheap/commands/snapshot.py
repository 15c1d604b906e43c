"""`snapshot`: the heap's graph, as a stream.

The child writes raw records into its spool and ends; nothing here keeps it waiting.
How the spool is sent stands in spooled.py. Where the client asks for a lease, the spool
outlives its session for that long, and `resume` sends it on; its header tells the id.

What leaves is what stands in the program's text, and sizes. Attribute names are names
also where a program made them of data at run time (`setattr(object, text, value)`).

Which tasks run is asked just before the clone and just after, and what both times say
ran in between. It goes into the trailer, which is written last.

With `texts` a keyed hash of the contents of every str and bytes leaves, too. The key is
made in this process for one walk, stands in no file, and is forgotten: hashes say which
contents of one file are equal, and cannot be looked up in a table of known secrets.

With `values` contents leave, which takes a session of that scope: other keys of dicts
and the beginnings of texts, and numbers. Which never do is decided in the child, by the
names that lead to them (csrc/graph_writer_values.c), and the file's header says so.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from contextlib import suppress
from typing import Any

from liveheap import memory
from liveheap.commands.base import Command, Param, Piece, Step, max_pause
from liveheap.commands.collect import collect, permit
from liveheap.commands.context import Context
from liveheap.commands.owner import refuse_force
from liveheap.commands.spooled import Spooled
from liveheap.errors import CommandError
from liveheap.protocol.auth import Scope
from liveheap.protocol.results import Blob
from liveheap.rails import LONGEST_LEASE_S
from liveheap.tasks import Task

MOST_TASKS = 1024
COUNT_FILES_S = 0.25
HEADER_FACTS = (
    "python",
    "implementation",
    "pid",
    "start_time",
    "hostname",
    "instance",
    "program",
    "rss",
)


def run(
    ctx: Context,
    *,
    max_pause_ms: float,
    force: bool,
    timeout_s: float,
    gc: bool,
    texts: bool,
    values: bool,
    lease_s: float,
) -> Generator[Step | Piece, None, Blob]:
    """Take a snapshot of the heap's graph into a file.

    The worker stops for as long as one fork takes, some milliseconds; a child walks
    the frozen copy. Refused if the stop would exceed --max-pause-ms or memory is
    short, unless --force is given. Names and sizes only leave the worker; with --values
    also keys and the beginnings of contents, if the worker was started with
    LIVEHEAP_ALLOW=values.
    """
    refuse_force(ctx, force)
    if gc:
        permit(ctx)
        yield Step("gc")
        ctx.on_main(collect)
    header = describe(ctx)
    if texts:
        header["texts"] = True
    if values:
        header["scope"] = Scope.VALUES.label
    with ctx.keep_spool(lease_s) as keep:
        before = ctx.labels()
        walk = ctx.heap.snapshot(
            spool_directory=ctx.spool_directory,
            max_pause_ms=max_pause_ms,
            force=force,
            timeout_s=min(timeout_s, ctx.rails.max_walk),
            own_threads=ctx.own_threads,
            texts=texts,
            values=values,
        )
        spooled = Spooled(walk, header, ctx.heap.sha256())
        is_leased = keep(spooled)
        throughout = list(before & ctx.labels())[:MOST_TASKS]
        spooled.running = [label(ctx, task) for task in throughout]
        known = {"snapshot": spooled.id} if is_leased else {}
        yield Step("header", detail={"header": header, **known})
        return (yield from spooled.send(ctx))


def describe(ctx: Context) -> dict[str, object]:
    """The file's header: FORMAT.md, section 1."""
    facts = ctx.facts()
    open_files: Mapping[str, Any] | None = None
    with suppress(CommandError):  # a worker without a descriptor left is worth a look
        open_files = ctx.heap.allocators.descriptors(COUNT_FILES_S)
    return {
        "tool": f"liveheap {facts['version']}",
        **{name: facts[name] for name in HEADER_FACTS},
        "created": time.time(),
        "monotonic": time.monotonic(),
        "scope": Scope.GRAPH.label,
        "word": 8,
        "memory": memory.footprint(open_files),
    }


def label(ctx: Context, task: Task) -> dict[str, object]:
    """Return what the trailer says of a task: FORMAT.md, section 1."""
    return {
        "kind": task.kind,
        "name": task.name,
        "id": task.id,
        "seconds": round(time.monotonic() - task.started, 3),
        "holder": task.holder,
        "address": task.address,
        "thread": ctx.thread_id(task.thread),
        "callers": list(task.callers),
        "inherited": task.inherited,
    }


SNAPSHOT = Command(
    name="snapshot",
    scope=Scope.GRAPH,
    heavy=True,
    help=run.__doc__ or "",
    params=(
        max_pause(),
        Param("force", bool, False, "take it even if memory or the stop forbid it"),
        Param(
            "timeout_s",
            float,
            60.0,
            "kill the walk after this time",
            "S",
            minimum=1,
            maximum=3600,
        ),
        Param("gc", bool, False, "collect garbage first, on the main thread"),
        Param("texts", bool, False, "hash what str and bytes contain: see strings"),
        Param(
            "values",
            bool,
            False,
            "tell keys and the beginnings of contents, but of names like password",
            scope=Scope.VALUES,
        ),
        Param(
            "lease_s",
            float,
            0.0,
            "keep the spool for so long without a reader, for `resume`",
            "S",
            minimum=0,
            maximum=LONGEST_LEASE_S,
        ),
    ),
    run=run,
)
