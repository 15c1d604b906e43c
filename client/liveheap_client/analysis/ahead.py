"""Work ahead: while one piece is used here, a thread makes the next.

For the pieces of a snapshot: reading, decompressing and hashing one takes half as long
as decoding it, and both let go of the GIL. One piece ahead is enough, for the one who
uses them is the slower; so there is no queue to fill, and nobody to stop.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_Piece = TypeVar("_Piece")


def ahead(pieces: Iterable[_Piece]) -> Generator[_Piece, None, None]:
    """Yield what `pieces` yields, made in a thread; errors come where they belong.

    Who stops before the end closes it, and what `pieces` reads from only then.
    """
    maker = iter(pieces)
    end = object()
    with ThreadPoolExecutor(1, "liveheap-reads-ahead") as thread:
        coming = thread.submit(next, maker, end)
        while (piece := coming.result()) is not end:
            coming = thread.submit(next, maker, end)
            yield piece  # type: ignore[misc]
