"""Where a worker's memory goes: what a snapshot's header says of it.

All of it from `/proc/self`, by plain reads: cheap enough to ask at any time. From Linux
6.2 on the size of `/proc/self/fd` is the number of open files; before, they are counted
up to a limit. Of which kind they are the engine finds out (allocators.py).
"""

from __future__ import annotations

import gc
import os
from collections.abc import Mapping
from itertools import islice
from typing import Any

PAGE = os.sysconf("SC_PAGE_SIZE")
MOST_COUNTED = 384
SOCKETS = ("tcp", "tcp-listening", "udp", "unix", "socket")


def rss() -> int:
    """Return the resident bytes of this process."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * PAGE


def descriptors() -> int | None:
    """Return how many files this process has open; None if more than can be told."""
    known = os.stat("/proc/self/fd").st_size
    if known:
        return known
    try:
        with os.scandir("/proc/self/fd") as entries:
            counted = sum(1 for _ in islice(entries, MOST_COUNTED)) - 1
    except OSError:  # not one descriptor is left for the listing
        return None
    return counted if counted < MOST_COUNTED - 1 else None


def footprint(found: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what tells growth outside the heap's graph apart.

    Args:
        found: the open files by kind, if they could be counted. Where there was no time
            for all of them nothing is said of kinds: a part would look like growth, or
            hide it.
    """
    facts = {"gc_enabled": gc.isenabled(), "full_collections": full_collections()}
    if found is None or found["cut_short"]:
        return {**facts, "descriptors": descriptors(), "sockets": None}
    kinds = found["kinds"]
    return {
        **facts,
        "descriptors": found["n"],
        "sockets": sum(kinds.get(name, 0) for name in SOCKETS),
        "descriptor_kinds": kinds,
        "local_ports": [[*pair] for pair in found["local_ports"]],
        "remote_ports": [[*pair] for pair in found["remote_ports"]],
    }


def full_collections() -> int:
    """Return how often the oldest generation was collected."""
    return int(gc.get_stats()[-1]["collections"])
