"""What the extra cases share: say that the load runs, then handle requests for ever.

A request allocates and drops as real ones do, so that a leak is never all that moves.
"""

import time
from collections.abc import Callable

EVERY_S = 0.01


def innocent_work(number: int) -> int:
    """Make the garbage of a request and drop it."""
    rows = [{"id": number, "row": row, "text": f"row {row}"} for row in range(50)]
    return sum(len(row["text"]) for row in rows)


def serve(handle: Callable[[int], object], every_s: float = EVERY_S) -> None:
    """Call `handle` with the number of the request, as a server would."""
    print("ready", flush=True)
    number = 0
    while True:
        number += 1
        innocent_work(number)
        handle(number)
        time.sleep(every_s)
