"""A worker's figures over the last days, in 15 KiB: nobody need have been watching.

Kept is only what costs microseconds: the resident size, the open files where the kernel
knows their number (Linux 6.2), full collections and finished tasks. Rings of records,
each coarser than the one before it: whenever FACTOR records have come into a ring, one
that stands for all of them goes into the next. So the last three hours are there by the
minute and the last two months by the third of a day, and a write never moves what is
there.

Time is that of CLOCK_BOOTTIME, which nobody sets and which goes on while the machine
sleeps: a clock that jumps moves nothing, and a time without records (a suspended
machine, a stopped process) stays a hole that can be seen. What a reader calls a time of
day is reckoned at the moment of the answer.

One thread writes, others may read meanwhile: a record is packed in one call, and a
ring's count is raised after it.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

INTERVAL_S = 60.0
SLOTS = 192
LEVELS = 4
FACTOR = 8
TICKS = 10
RECORD = struct.Struct("=IIIHHI")
UNKNOWN = 0xFFFF
MOST = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Figures:
    """What is known of one moment, or of a span that ends with it."""

    at: float
    """Seconds since boot, as `now` tells them."""
    rss: int
    """The least of the span, in bytes; `peak` is the most."""
    peak: int
    descriptors: int | None
    """The most; None where the kernel does not tell."""
    collections: int
    """Full collections within the span."""
    done: int
    """Tasks that were done by then, since the process began."""


def now() -> float:
    """Return the seconds since boot, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Ring:
    """The newest records of one grain, by their number from the beginning on."""

    def __init__(self) -> None:
        self._records = bytearray(SLOTS * RECORD.size)
        self.count = 0

    @property
    def first(self) -> int:
        """The oldest record that the next write leaves alone."""
        return max(self.count - SLOTS + 1, 0)

    def write(self, record: tuple[int, ...]) -> None:
        """Add a record; the oldest goes when there is no room."""
        RECORD.pack_into(self._records, self.count % SLOTS * RECORD.size, *record)
        self.count += 1

    def read(self, start: int, end: int) -> list[tuple[int, ...]]:
        """Return the records from number `start` up to `end`."""
        return [
            RECORD.unpack_from(self._records, number % SLOTS * RECORD.size)
            for number in range(start, end)
        ]


class History:
    """The figures of one process, from its agent's beginning on."""

    def __init__(self) -> None:
        self._began = now()
        self._rings = tuple(Ring() for _ in range(LEVELS))

    def note(
        self, *, rss: int, descriptors: int | None, collections: int, done: int
    ) -> None:
        """Add what was found just now; `collections` since the note before."""
        kib = min(rss >> 10, MOST)
        record: tuple[int, ...] = (
            min(int((now() - self._began) * TICKS), MOST),
            kib,
            kib,
            UNKNOWN if descriptors is None else min(descriptors, UNKNOWN - 1),
            min(collections, UNKNOWN),
            min(done, MOST),
        )
        for ring in self._rings:
            ring.write(record)
            if ring.count % FACTOR:
                return
            record = summed(ring.read(ring.count - FACTOR, ring.count))

    def figures(self) -> list[Figures]:
        """Return all that is kept, oldest first, each span by its finest records.

        Record `n` of a ring stands for FACTOR records, from `FACTOR * n` on, of the
        finer one: it is read where that has not all of them any more.
        """
        found: list[tuple[int, ...]] = []
        start, coarsest_first = 0, self._rings[::-1]
        for ring, finer in zip(
            coarsest_first, [*coarsest_first[1:], None], strict=True
        ):
            start = max(start, ring.first)
            end = ring.count if finer is None else -(-finer.first // FACTOR)
            found += ring.read(start, end)
            start = end * FACTOR
        return list(self._read(found))

    def _read(self, records: list[tuple[int, ...]]) -> Iterator[Figures]:
        for at, low, high, descriptors, collections, done in records:
            yield Figures(
                at=self._began + at / TICKS,
                rss=low << 10,
                peak=high << 10,
                descriptors=None if descriptors == UNKNOWN else descriptors,
                collections=collections,
                done=done,
            )


def summed(records: list[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the one record that stands for several: the extremes, and the last."""
    at, lows, highs, descriptors, collections, done = zip(*records, strict=True)
    known = [each for each in descriptors if each != UNKNOWN]
    return (
        at[-1],
        min(lows),
        max(highs),
        max(known, default=UNKNOWN),
        min(sum(collections), UNKNOWN),
        done[-1],
    )
