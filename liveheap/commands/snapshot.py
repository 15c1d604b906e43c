"""`snapshot`: the heap's graph, as a stream.

The child writes raw records into its spool and ends; nothing here keeps it waiting.
Ranges of 1 MiB are read back, hashed and compressed off the GIL, each as one zstd
frame, and handed out at the client's pace. A range goes out as soon as it is whole, so
a large heap is half sent when its walk is done. The hash is over raw bytes: a reader
may verify what it decoded, whatever the frames were.

A walk that ends early is a failure, not a shorter snapshot: what was sent of it has no
trailer, so no file comes of it. A graph of which an arbitrary part is missing answers
questions wrongly, and the reason is what the person needs.

What leaves is what stands in the program's text, and sizes. Attribute names are names
also where a program made them of data at run time (`setattr(object, text, value)`).

Which tasks run is asked just before the clone and just after, and what both times say
ran in between. It goes into the trailer, which is written last.

With `texts` a keyed hash of the contents of every str and bytes leaves, too. The key is
made in this process for one walk, stands in no file, and is forgotten: hashes say which
contents of one file are equal, and cannot be looked up in a table of known secrets.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from contextlib import suppress
from typing import Any

from liveheap import memory
from liveheap.commands.base import Command, Param, Piece, Step
from liveheap.commands.collect import collect, permit
from liveheap.commands.context import Context, Outcome, Walk
from liveheap.errors import CommandError
from liveheap.protocol.auth import Scope
from liveheap.protocol.results import Blob
from liveheap.rails import Rails
from liveheap.tasks import Task

RANGE = 1 << 20
MOST_TASKS = 1024
CODEC_ZSTD = 1
LOOK_EVERY_S = 0.005
SHOW_EVERY_S = 0.05
COUNT_FILES_S = 0.25
HINTS = {
    "timeout": "give it longer: --timeout-s 300",
    "spool": "set LIVEHEAP_SPOOL to a directory with room, then restart the worker",
    "memory": "wait until memory is free, or ask what needs little: liveheap histogram",
    "child": "try again; the kernel's log may say more: dmesg",
}
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
) -> Generator[Step | Piece, None, Blob]:
    """Take a snapshot of the heap's graph into a file.

    The worker stops for as long as one fork takes, some milliseconds; a child walks
    the frozen copy. Refused if the stop would exceed --max-pause-ms or memory is
    short, unless --force is given. No values are read: names and sizes only.
    """
    if force and not ctx.rails.force:
        raise CommandError(
            "refused",
            "the worker's owner lets nobody force a snapshot",
            hint="LIVEHEAP_FORCE=0 of the worker says so; try without --force",
        )
    if gc:
        permit(ctx)
        yield Step("gc")
        ctx.on_main(collect)
    header = describe(ctx)
    if texts:
        header["texts"] = True
    with ctx.keep_spool():
        before = ctx.labels()
        walk = ctx.heap.snapshot(
            spool_directory=ctx.spool_directory,
            max_pause_ms=max_pause_ms,
            owners_pause_ms=ctx.rails.max_pause,
            force=force,
            timeout_s=min(timeout_s, ctx.rails.max_walk),
            own_threads=ctx.own_threads,
            texts=texts,
        )
        try:
            throughout = list(before & ctx.labels())[:MOST_TASKS]
            running = [label(ctx, task) for task in throughout]
            yield Step("header", detail={"header": header})
            sent, digest = yield from stream(ctx, walk)
            outcome = walk.outcome()
        finally:
            walk.close()
    if not outcome.complete or not sent:
        raise explain(
            outcome.reason or "the walk wrote nothing", most_s=ctx.rails.max_walk
        )
    trailer = conclude(outcome, sent, digest, walk.pause_ns, ctx.facts()["rss"])
    return Blob(
        header, {**trailer, "tasks": running, "task_figures": task_figures(ctx)}
    )


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
        "scope": "graph",
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


def task_figures(ctx: Context) -> dict[str, dict[str, int]]:
    """Return what tasks left so far, by name; without the first run of each."""
    done = ctx.done()
    return {
        name: {
            "runs": done.get(name, 0),
            "measured": left.alone - 1,
            "blocks": left.blocks_sum,
        }
        for name, left in ctx.left_behind().items()
        if left.alone > 1
    }


def stream(ctx: Context, walk: Walk) -> Generator[Step | Piece, None, tuple[int, str]]:
    """Hand out the spool, range by range, until the walk is over and all is sent."""
    pack, digest, sent, over = ctx.compressor(), ctx.heap.sha256(), 0, False
    shown = 0.0

    def look() -> None:
        if walk.wait(0):
            ctx.heap_is_free()

    ctx.while_stalled(look)
    while True:
        progress = walk.progress()
        written = walk.outcome().raw_length if over else progress.raw_bytes
        is_whole = written - sent >= RANGE or (progress.written and written > sent)
        if not over and walk.wait(0 if is_whole else LOOK_EVERY_S):
            over = True
            ctx.heap_is_free()
        elif is_whole or (over and written > sent):
            raw = walk.read(sent, min(RANGE, written - sent))
            if not raw:
                raise CommandError("failed", f"the spool ends at {sent} of {written}")
            digest.update(raw)
            yield Piece(sent, len(raw), CODEC_ZSTD, pack(raw))
            sent += len(raw)
        elif over:
            return sent, digest.hexdigest()
        elif time.monotonic() >= shown + SHOW_EVERY_S:
            shown = time.monotonic()
            yield Step(
                "walk",
                done=progress.nodes,
                detail={"raw_bytes": progress.raw_bytes, "part": progress.phase},
            )


def explain(reason: str, *, most_s: float) -> CommandError:
    """Say why there is no snapshot, and what to try; its owner bounds a walk's life."""
    hint = next(
        (hint for word, hint in HINTS.items() if word in reason), HINTS["child"]
    )
    code = "timeout" if reason.startswith("timeout") else "failed"
    if code == "timeout" and most_s < Rails().max_walk:
        hint += f"; the worker's owner allows {most_s:g} s (LIVEHEAP_MAX_WALK)"
    return CommandError(code, reason, hint=hint)


def conclude(
    outcome: Outcome, sent: int, digest: str, pause_ns: int, rss: int
) -> dict[str, object]:
    """The file's trailer: FORMAT.md, section 1."""
    return {
        "complete": outcome.complete,
        "reason": outcome.reason,
        "flags": list(outcome.flags),
        "nodes": outcome.nodes,
        "edges": outcome.edges,
        "bytes": outcome.bytes,
        "raw_length": sent,
        "raw_sha256": digest,
        "pause_ns": pause_ns,
        "walk_ns": outcome.walk_ns,
        "pymalloc_used": outcome.pool_used,
        "pymalloc_free": outcome.pool_free,
        "malloc_used": outcome.malloc_used,
        "malloc_free": outcome.malloc_free,
        "malloc_mapped": outcome.malloc_mapped,
        "rss_after": rss,
    }


SNAPSHOT = Command(
    name="snapshot",
    scope=Scope.GRAPH,
    heavy=True,
    help=run.__doc__ or "",
    params=(
        Param(
            "max_pause_ms",
            float,
            100.0,
            "refuse if the predicted stop is longer",
            "MS",
            minimum=0,
            maximum=60_000,
        ),
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
    ),
    run=run,
)
