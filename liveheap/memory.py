"""Where a worker's memory goes: what a snapshot's header says of it.

All of it from `/proc/self`, by plain reads: cheap enough to ask at any time, and
bounded where a worker has a hundred thousand files open. From Linux 6.2 on the size of
`/proc/self/fd` is their number; before, they are counted up to a limit. Which of them
are sockets takes a call for each, so that is told of a hundred at most.
"""

from __future__ import annotations

import gc
import os
import stat
from contextlib import suppress
from itertools import islice

PAGE = os.sysconf("SC_PAGE_SIZE")
MOST_COUNTED = 384
MOST_LOOKED_AT = 96


def rss() -> int:
    """Return the resident bytes of this process."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * PAGE


def descriptors() -> int | None:
    """Return how many files this process has open; None if more than can be told."""
    known = os.stat("/proc/self/fd").st_size
    if known:
        return known
    with os.scandir("/proc/self/fd") as entries:
        counted = sum(1 for _ in islice(entries, MOST_COUNTED)) - 1
    return counted if counted < MOST_COUNTED - 1 else None


def sockets(n_descriptors: int | None) -> int | None:
    """Return how many of the open files are sockets; None if that are too many."""
    if n_descriptors is None or n_descriptors > MOST_LOOKED_AT:
        return None
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the listing itself, or closed meanwhile
            found += stat.S_ISSOCK(os.fstat(int(name)).st_mode)
    return found


def footprint() -> dict[str, int | bool | None]:
    """Return what tells growth outside the heap's graph apart; 0.2 ms at most."""
    n_descriptors = descriptors()
    return {
        "descriptors": n_descriptors,
        "sockets": sockets(n_descriptors),
        "gc_enabled": gc.isenabled(),
        "full_collections": full_collections(),
    }


def full_collections() -> int:
    """Return how often the oldest generation was collected."""
    return int(gc.get_stats()[-1]["collections"])
