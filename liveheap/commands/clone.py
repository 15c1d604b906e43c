"""`clone`, `clone-ask` and `clone-complete`: Python in a frozen copy of the worker.

`clone` makes the copy, which then belongs to the session: one per session, one per
worker. It works on heapy and objgraph (scope values); with `python` it runs any code,
which takes scope exec. `clone-ask` is one evaluation in it, answered as that of a
console is. What is asked stands in the audit log before it runs.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing

from liveheap.commands.base import Command, Param, Piece, Step, max_pause
from liveheap.commands.context import Context
from liveheap.commands.evaluating import (
    CODE,
    SAY_EVERY_S,
    TEXT,
    candidates,
    conduct,
    put_on_record,
)
from liveheap.commands.owner import refuse_force
from liveheap.protocol.auth import Scope
from liveheap.protocol.results import Record, Table

LIVES_S = 600.0
COMES_UP = "the copy comes up"


def run(
    ctx: Context, *, max_pause_ms: float, force: bool, lives_s: float, python: bool
) -> Generator[Step | Piece, None, Record]:
    """Explore a frozen copy of the worker with heapy and objgraph.

    The worker stops as long as one fork takes and works on; the copy stays for ten
    minutes at most. It may come to need as much memory as the worker has, and a tenth:
    refused where there is less, unless --force is given.
    """
    refuse_force(ctx, force)
    yield Step("clone")
    coming = ctx.clone(
        max_pause_ms=max_pause_ms,
        force=force,
        lives_s=min(lives_s, ctx.rails.max_clone),
        is_free=python,
    )
    said_at = time.monotonic()
    with closing(coming):
        while (made := coming.wait()) is None:
            if time.monotonic() > said_at + SAY_EVERY_S:
                said_at = time.monotonic()
                yield Step(COMES_UP)
            ctx.check()
    ctx.heap_is_free()
    return Record(made.facts())


def ask(
    ctx: Context, *, code: str, whole: bool, max_output: int
) -> Generator[Step | Piece, None, Record]:
    """Evaluate something in the copy."""
    made = ctx.made_clone()
    put_on_record(ctx, "clone-line", code)
    most = min(max_output, ctx.rails.max_output)
    evaluation = made.evaluate(code, whole=whole, max_output=most)
    return (yield from conduct(ctx, evaluation))


def complete(ctx: Context, *, text: str) -> Generator[Step | Piece, None, Table]:
    """Return what the last name of a text may become, computing nothing."""
    yield from ()
    return candidates(list(ctx.made_clone().complete(text)))


CLONE = Command(
    name="clone",
    scope=Scope.VALUES,
    heavy=True,
    help=run.__doc__ or "",
    params=(
        max_pause(),
        Param("force", bool, False, "make it even if memory or the stop forbid it"),
        Param(
            "lives_s",
            float,
            LIVES_S,
            "end the copy after this time",
            "S",
            minimum=1,
            maximum=LIVES_S,
        ),
        Param("python", bool, False, "run any Python in it", scope=Scope.EXEC),
    ),
    run=run,
)

CLONE_ASK = Command(
    name="clone-ask",
    scope=Scope.VALUES,
    heavy=False,
    help=ask.__doc__ or "",
    params=CODE,
    run=ask,
    is_verb=False,
)

CLONE_COMPLETE = Command(
    name="clone-complete",
    scope=Scope.VALUES,
    heavy=False,
    help=complete.__doc__ or "",
    params=TEXT,
    run=complete,
    is_verb=False,
)
