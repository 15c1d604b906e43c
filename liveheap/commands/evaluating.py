"""One evaluation as a command: what it writes goes out as it is written.

For the console in the live worker and for that of a clone: the same chunks and the same
record, so that a client has one way to talk to both.

A client's Cancel is a KeyboardInterrupt in the code, which may catch it and go on: so
the answer to a Cancel is mostly a result, with the traceback among the output. Code
that does not end then, because it swallows the interrupt or sits in a call of C, is
interrupted again, for an interrupt that strikes in a destructor is lost; and after a
moment it is left to itself, and the client is told.

Code that writes nothing for long is told of once a second, for a client has to tell it
from a worker that does not answer.
"""

from __future__ import annotations

import time
from collections.abc import Generator

from liveheap.commands.base import Param, Piece, Step
from liveheap.commands.context import Context, Evaluation
from liveheap.errors import CommandError
from liveheap.protocol.messages import CODEC_STORED
from liveheap.protocol.results import Column, Record, Table

LONGEST_CODE = 60_000
LONGEST_PART = 256  # of code that the audit log takes without cutting it
PIECE_BYTES = 64 * 1024
LOOK_EVERY_S = 0.05
SAY_EVERY_S = 1.0
HEEDS_WITHIN_S, AGAIN_AFTER_S = 2.0, 0.9
RUNS = "runs"
MOST_CANDIDATES = 500

OUTPUT = Param(
    "max_output",
    int,
    1 << 20,
    "cut the output of one evaluation after this",
    "BYTES",
    minimum=1,
    maximum=64 << 20,
)
CODE = (
    Param("code", str, "", "Python to run", "CODE", longest=LONGEST_CODE),
    Param("whole", bool, False, "that is all of it: no further line will follow"),
    OUTPUT,
)
TEXT = (Param("text", str, "", "what has been typed", "TEXT"),)


def put_on_record(ctx: Context, what: str, code: str) -> None:
    """Have all of some code stand in the audit log, before it runs."""
    for at in range(0, max(len(code), 1), LONGEST_PART):
        ctx.audit(what, code=code[at : at + LONGEST_PART])


def conduct(
    ctx: Context, evaluation: Evaluation
) -> Generator[Step | Piece, None, Record]:
    """Send what an evaluation writes until it is over; return how it ended.

    The record begins with `outcome`: `ok`, `error` (it raised), `exit` (it left), or
    `incomplete` (nothing was run: further lines are needed).

    Raises:
        CommandError: `cancelled`, if it did not heed the interrupt.
    """
    offset, said_at = 0, time.monotonic()
    interrupted_at, again_at = None, 0.0
    try:
        while True:
            is_over = evaluation.is_over
            try:
                while data := evaluation.take(PIECE_BYTES):
                    piece = Piece(offset, len(data), CODEC_STORED, data)
                    offset, said_at = offset + len(data), time.monotonic()
                    yield piece
                if is_over:
                    return Record(evaluation.fields())
                if time.monotonic() > said_at + SAY_EVERY_S:
                    said_at = time.monotonic()
                    yield Step(RUNS, detail={"doing": evaluation.doing})
                evaluation.wait(LOOK_EVERY_S)
                ctx.check()
            except CommandError as exc:
                if exc.code != "cancelled":
                    raise
            else:
                continue
            if interrupted_at is None:
                interrupted_at = again_at = time.monotonic()
            if time.monotonic() > interrupted_at + HEEDS_WITHIN_S:
                raise CommandError("cancelled", evaluation.why_not_over())
            if time.monotonic() >= again_at:
                again_at += AGAIN_AFTER_S
                evaluation.interrupt()
    finally:
        if not evaluation.is_over:
            evaluation.interrupt()


def candidates(names: list[str] | tuple[str, ...]) -> Table:
    """Return what a name may become."""
    rows = tuple((name,) for name in names[:MOST_CANDIDATES])
    return Table((Column("candidate", "text"),), rows)
