"""What every task of the matrix does: hold marked objects in a local, and wait.

A task writes a file into `running/` that says who it is and where it runs, burns some
CPU and sleeps by turns until its gate opens (a file), and takes its word back. So the
matrix knows the truth about each task, from outside, at any moment.
"""

import asyncio
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARCELS = 250
BURN_S = 0.002
REST_S = 0.018
STAGE = Path(os.environ["MATRIX_STAGE"])

if os.environ.get("MATRIX_START") == "call":
    import liveheap

    liveheap.start(strict=True)


class Parcel:
    """A planted object: as many are alive as running tasks hold."""

    def __init__(self, number: int) -> None:
        self.number = number


@contextmanager
def known(kind: str, name: str, ident: str | None) -> Iterator[None]:
    """Say for so long that this task runs here."""
    said = {"pid": os.getpid(), "kind": kind, "name": name, "id": ident}
    word = STAGE / "running" / f"{os.getpid()}-{time.monotonic_ns()}"
    part = word.with_suffix(".part")
    part.write_text(json.dumps(said))
    part.rename(word)
    try:
        yield
    finally:
        word.unlink()


def is_open(gate: str) -> bool:
    """Return whether the gate is open."""
    return (STAGE / gate).exists()


def burn() -> None:
    """Hold the GIL for a moment."""
    end = time.monotonic() + BURN_S
    while time.monotonic() < end:
        pass


def pack(kind: str, name: str, ident: str | None, gate: str) -> int:
    """Hold parcels until the gate opens."""
    parcels = [Parcel(number) for number in range(PARCELS)]
    with known(kind, name, ident):
        while not is_open(gate):
            burn()
            time.sleep(REST_S)
    return len(parcels)


async def pack_async(kind: str, name: str, ident: str | None, gate: str) -> int:
    """Do the same in an event loop."""
    parcels = [Parcel(number) for number in range(PARCELS)]
    with known(kind, name, ident):
        while not is_open(gate):
            burn()
            await asyncio.sleep(REST_S)
    return len(parcels)


def new_orders(seen: set[str]) -> list[tuple[int, str]]:
    """Return how many tasks of which gate were ordered since, without a queue."""
    found = []
    for order in sorted((STAGE / "orders").glob("order-?")):
        if order.name not in seen:
            seen.add(order.name)
            count, gate = order.read_text().split()
            found.append((int(count), gate))
    return found


def orders() -> Iterator[tuple[int, str]]:
    """Yield the orders, sleeping between, until the file `end` is there."""
    seen: set[str] = set()
    while not is_open("end"):
        yield from new_orders(seen)
        time.sleep(REST_S)


def labelled(name: str, gate: str) -> int:
    """Pack, as a task that liveheap is told of by the program itself."""
    import liveheap

    with liveheap.task(name):
        return pack("task", name, None, gate)


async def labelled_async(name: str, gate: str) -> int:
    """Do the same in an event loop."""
    import liveheap

    with liveheap.task(name):
        return await pack_async("task", name, None, gate)
