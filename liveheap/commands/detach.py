"""`detach`: the agent leaves the worker.

Meant for an agent that `liveheap inject` has brought: threads, socket, files, hooks and
modules go with it. One that the worker's own program started is part of that program,
and leaves when forced to.

The answer goes out first. Whoever reads on sees the end of the stream when the session
has ended; the rest follows within moments.
"""

from __future__ import annotations

from collections.abc import Generator

from liveheap.commands.base import Command, Param, Piece, Step
from liveheap.commands.context import Context
from liveheap.protocol.auth import Scope
from liveheap.protocol.results import Record


def run(ctx: Context, *, force: bool) -> Generator[Step | Piece, None, Record]:
    """Make an agent leave its worker.

    The one that `inject` or `attach` brought in goes with all it had: threads, socket,
    files, hooks, modules. Sessions end; the worker works on and stops for nothing.
    """
    injected = ctx.leave(force=force)
    yield from ()
    return Record((("left", "bool", True), ("injected", "bool", injected)))


DETACH = Command(
    name="detach",
    scope=Scope.READ,
    heavy=False,
    help=run.__doc__ or "",
    params=(
        Param("force", bool, False, "also if the worker's own program started it"),
    ),
    run=run,
)
