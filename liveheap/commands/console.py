"""`console` and `console-complete`: Python in the live worker.

One command is one evaluation. Names that it defines live as long as the session. What
is evaluated stands in the audit log before it runs. Without code it runs nothing, and
says where one is.
"""

from __future__ import annotations

from collections.abc import Generator

from liveheap.commands.base import Command, Piece, Step
from liveheap.commands.context import Context
from liveheap.commands.evaluating import (
    CODE,
    TEXT,
    candidates,
    conduct,
    put_on_record,
)
from liveheap.protocol.auth import Scope
from liveheap.protocol.results import Record, Table


def run(
    ctx: Context, *, code: str, whole: bool, max_output: int
) -> Generator[Step | Piece, None, Record]:
    """Run Python in the live worker."""
    console = ctx.console()
    if not code.strip():
        return Record((("outcome", "text", "ok"), *console.place()))
    put_on_record(ctx, "console-line", code)
    most = min(max_output, ctx.rails.max_output)
    evaluation = console.evaluate(code, whole=whole, max_output=most)
    return (yield from conduct(ctx, evaluation))


def complete(ctx: Context, *, text: str) -> Generator[Step | Piece, None, Table]:
    """Return what the last name of a text may become, running no code."""
    yield from ()
    return candidates(list(ctx.console().complete(text)))


CONSOLE = Command(
    name="console",
    scope=Scope.EXEC,
    heavy=False,
    help=run.__doc__ or "",
    params=CODE,
    run=run,
)

CONSOLE_COMPLETE = Command(
    name="console-complete",
    scope=Scope.EXEC,
    heavy=False,
    help=complete.__doc__ or "",
    params=TEXT,
    run=complete,
    is_verb=False,
)
