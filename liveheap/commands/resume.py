"""`resume` and `release`: the rest of a snapshot whose link dropped, and its end.

A snapshot that was asked for with a lease has an id, told with its header. Whoever
knows it, in a session of the scope that it was made with, gets the chunks behind an
offset and the result, as if nothing had happened. The agent cannot know whether its
last words arrived; so the spool waits after them too, until the client, which has
verified the whole, releases it, or the lease ends.
"""

from __future__ import annotations

from collections.abc import Generator

from liveheap.commands.base import Command, Param, Piece, Step
from liveheap.commands.context import Context
from liveheap.protocol.auth import Scope
from liveheap.protocol.results import Blob, Record

LARGEST_OFFSET = (1 << 63) - 1
ID = Param("snapshot", str, "", "its id, as its header told it")


def resume(
    ctx: Context, *, snapshot: str, offset: int
) -> Generator[Step | Piece, None, Blob]:
    """Send the rest of a snapshot whose link dropped.

    Costs the worker nothing but the sending: it was stopped when the snapshot was made.
    """
    with ctx.resumed_spool(snapshot) as spooled:
        return (yield from spooled.send(ctx, offset))


def release(ctx: Context, *, snapshot: str) -> Generator[Step | Piece, None, Record]:
    """Give back the space of a snapshot that has arrived."""
    yield from ()
    return Record((("released", "bool", ctx.release_spool(snapshot)),))


RESUME = Command(
    name="resume",
    scope=Scope.GRAPH,
    heavy=False,
    help=resume.__doc__ or "",
    params=(
        ID,
        Param(
            "offset",
            int,
            0,
            "raw bytes that the client has",
            minimum=0,
            maximum=LARGEST_OFFSET,
        ),
    ),
    run=resume,
    is_verb=False,
)
RELEASE = Command(
    name="release",
    scope=Scope.GRAPH,
    heavy=False,
    help=release.__doc__ or "",
    params=(ID,),
    run=release,
    is_verb=False,
)
