"""`stop`: the kill switch for one agent.

Like `detach`, but for good: in this process no agent comes up again, neither by
`liveheap.start()` nor by `liveheap inject`, and none in what it forks from now on. Only
a new start of the program brings one.

Scope read, the lowest there is: whatever a session may see, it may also close the door,
and a worker whose ceiling is read must not be without a kill switch. The price is that
the holder of any key can take the agent away from others. He stops nothing but that,
and stands in the audit log.
"""

from __future__ import annotations

from collections.abc import Generator

from liveheap.commands.base import Command, Piece, Step
from liveheap.commands.context import Context
from liveheap.protocol.auth import Scope
from liveheap.protocol.results import Record


def run(ctx: Context) -> Generator[Step | Piece, None, Record]:
    """Switch a worker's agent off until the worker starts anew.

    Its socket goes, every session ends, and neither start() nor inject nor a fork
    brings an agent back. The worker works on and stops for nothing.
    """
    ctx.switch_off()
    yield from ()
    return Record((("stopped", "bool", True),))


STOP = Command(
    name="stop",
    scope=Scope.READ,
    heavy=False,
    help=run.__doc__ or "",
    params=(),
    run=run,
)
