"""Where a worker's memory goes: for now the little that `status` shows.

All of it from `/proc/self`, by plain reads: cheap enough to ask at any time.
"""

from __future__ import annotations

import os

PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")


def rss() -> int:
    """Return the resident bytes of this process."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * PAGE


def threads() -> int:
    """Return how many native threads this process has."""
    return len(os.listdir("/proc/self/task"))


def descriptors() -> int:
    """Return how many files this process has open."""
    return len(os.listdir("/proc/self/fd")) - 1


def uptime(start_time: int) -> float:
    """Return the seconds since a process started; `start_time` in clock ticks."""
    with open("/proc/uptime", "rb") as file:
        return float(file.read().split()[0]) - start_time / TICKS
