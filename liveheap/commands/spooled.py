"""A snapshot that lies in its spool: sent from there, and sent on if the link drops.

Ranges of 1 MiB are read back, hashed and compressed off the GIL, each as one zstd
frame, or left as they are where that is sooner, and handed out at the client's pace. A
range goes out as soon as it is whole, so a large heap is half sent when its walk is
done. The hash is over raw bytes: a reader may verify what it decoded, whatever the
frames were.

Who comes back after a dropped link names the snapshot and the raw offset up to which
it has everything. What was hashed once is not hashed again, so to go on costs what is
left; and the trailer, made once, is the same however often its answer got lost.

A frame is zstd of level 1 with a larger table and a shorter match: as fast, and a tenth
smaller (5.2 bytes an object instead of 5.8), for the records of a graph repeat in short
pieces. From level 2 on it takes twice as long.

A walk that ends early is a failure, not a shorter snapshot: what was sent of it has no
trailer, so no file comes of it. A graph of which an arbitrary part is missing answers
questions wrongly, and the reason is what the person needs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any

from liveheap.commands.base import Piece, Step
from liveheap.commands.context import Context, Hash, Outcome, Walk
from liveheap.errors import CommandError
from liveheap.protocol.results import Blob
from liveheap.rails import Rails

RANGE = 1 << 20
LEVEL, FITTED = 1, {"window_log": 19, "hash_log": 15, "min_match": 6}
LOOK_EVERY_S = 0.005
SHOW_EVERY_S = 0.05
ID_BYTES = 16
HINTS = {
    "timeout": "give it longer: --timeout-s 300",
    "spool": "set LIVEHEAP_SPOOL to a directory with room, then restart the worker",
    "memory": "wait until memory is free, or ask what needs little: liveheap histogram",
    "child": "try again; the kernel's log may say more: dmesg",
}


def compressor(zstd: Any) -> Callable[[bytes], bytes]:
    """Return what packs ranges, by that module of zstandard; for one thread."""
    fitted = zstd.ZstdCompressionParameters.from_level(LEVEL, **FITTED)
    compress: Callable[[bytes], bytes] = zstd.ZstdCompressor(
        compression_params=fitted
    ).compress
    return compress


class Spooled:
    """One snapshot: the walk that writes it, and how far it was read."""

    def __init__(self, walk: Walk, header: Mapping[str, Any], digest: Hash) -> None:
        self.id = os.urandom(ID_BYTES).hex()
        self.header = dict(header)
        self.running: list[dict[str, object]] = []
        """The tasks that ran throughout the clone."""
        self._walk = walk
        self._digest = digest
        self._hashed = 0
        self._trailer: dict[str, object] | None = None

    def send(
        self, ctx: Context, offset: int = 0
    ) -> Generator[Step | Piece, None, Blob]:
        """Hand out what lies behind `offset`, until the walk has ended and all is sent.

        Raises:
            CommandError: the walk failed, or nobody was ever sent so much.
        """
        if offset > self._hashed:
            raise CommandError(
                "bad-argument", f"offset: only {self._hashed} bytes were sent so far"
            )
        packer, sent, over, shown = ctx.packer(), offset, False, 0.0
        ctx.while_stalled(lambda: self._let_go(ctx))
        while True:
            progress = self._walk.progress()
            written = self._walk.outcome().raw_length if over else progress.raw_bytes
            is_whole = written - sent >= RANGE or (progress.written and written > sent)
            if not over and self._walk.wait(0 if is_whole else LOOK_EVERY_S):
                over = self._let_go(ctx)
            elif is_whole or (over and written > sent):
                raw = self._read(sent, min(RANGE, written - sent))
                yield Piece(sent, len(raw), *packer.pack(raw))
                packer.sent()
                sent += len(raw)
            elif over:
                return Blob(self.header, self._concluded(ctx))
            elif time.monotonic() >= shown + SHOW_EVERY_S:
                shown = time.monotonic()
                yield Step(
                    "walk",
                    done=progress.nodes,
                    detail={"raw_bytes": progress.raw_bytes, "part": progress.phase},
                )

    def settle(self, wanted: Callable[[], bool]) -> int | None:
        """Let the walk end while it is wanted; return the spool's size if it is whole.

        None: it goes on still, or did not end well; then nobody can use it.
        """
        while not self._walk.wait(LOOK_EVERY_S):
            if not wanted():
                return None
        outcome = self._walk.outcome()
        return outcome.raw_length if outcome.complete else None

    def close(self) -> None:
        """End the walk if it goes on, and give the space back. May be called twice."""
        self._walk.close()

    def _let_go(self, ctx: Context) -> bool:
        """Free the worker for others once the walk is over; return whether it is."""
        over = self._walk.wait(0)
        if over:
            ctx.heap_is_free()
        return over

    def _read(self, offset: int, length: int) -> bytes:
        raw = self._walk.read(offset, length)
        if not raw:
            raise CommandError("failed", f"the spool ends at {offset}")
        known = self._hashed - offset
        if known < len(raw):
            self._digest.update(raw[known:] if known else raw)
            self._hashed = offset + len(raw)
        return raw

    def _concluded(self, ctx: Context) -> dict[str, object]:
        """Return the file's trailer: FORMAT.md, section 1."""
        outcome = self._walk.outcome()
        if not outcome.complete or not self._hashed:
            reason = outcome.reason or "the walk wrote nothing"
            raise explain(reason, most_s=ctx.rails.max_walk)
        if self._trailer is None:
            self._trailer = {
                **figures(outcome),
                "raw_length": self._hashed,
                "raw_sha256": self._digest.hexdigest(),
                "pause_ns": self._walk.pause_ns,
                "rss_after": ctx.facts()["rss"],
                "tasks": self.running,
                "task_figures": task_figures(ctx),
            }
        return self._trailer


def explain(reason: str, *, most_s: float) -> CommandError:
    """Say why there is no snapshot, and what to try; its owner bounds a walk's life."""
    hint = next(
        (hint for word, hint in HINTS.items() if word in reason), HINTS["child"]
    )
    code = "timeout" if reason.startswith("timeout") else "failed"
    if code == "timeout" and most_s < Rails().max_walk:
        hint += f"; the worker's owner allows {most_s:g} s (LIVEHEAP_MAX_WALK)"
    return CommandError(code, reason, hint=hint)


def figures(outcome: Outcome) -> dict[str, object]:
    """Return what the trailer says of the walk."""
    return {
        "complete": outcome.complete,
        "reason": outcome.reason,
        "flags": list(outcome.flags),
        "nodes": outcome.nodes,
        "edges": outcome.edges,
        "bytes": outcome.bytes,
        "walk_ns": outcome.walk_ns,
        "pymalloc_used": outcome.pool_used,
        "pymalloc_free": outcome.pool_free,
        "malloc_used": outcome.malloc_used,
        "malloc_free": outcome.malloc_free,
        "malloc_mapped": outcome.malloc_mapped,
    }


def task_figures(ctx: Context) -> dict[str, dict[str, int]]:
    """Return what tasks left so far, by name; without the first run of each."""
    done = ctx.done()
    return {
        name: {
            "runs": done.get(name, 0),
            "measured": left.measured - 1,
            "blocks": left.blocks_sum,
        }
        for name, left in ctx.left_behind().items()
        if left.measured > 1
    }
