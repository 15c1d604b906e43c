"""May a snapshot be taken now, and what would it cost the worker?

A snapshot is a fork: the worker stops while the kernel copies its page tables, and
the child needs a little memory beside it. Both are foretold here from what the kernel
says under /proc and /sys/fs/cgroup, so that the answer is "no, because of this limit"
before the fork and not an out-of-memory kill after it.

Rules, with their origin:

* Pause: 4 KiB pages that are private and anonymous, times a rate (25 ms/GB until a
  snapshot has measured this machine's own). Huge pages cost a thirtieth of that.
  Whoever sums them (`smaps_rollup`) holds the worker's mmap lock for 17 ms/GB, so they
  are asked for only when the size of the page tables, an upper bound that costs
  nothing, is over the budget.
* Memory: max(5 % of RSS, 16 MB), and the spool where that lies on a tmpfs. A walk
  takes 3 %; from 16 MB up, no child was ever seen killed. What the worker itself
  writes while the child lives (copy on write) is not foretold: nothing cheap knows it.
* A clone that runs Python: all of RSS and a tenth. Whoever walks it by Python writes a
  reference count into every object, and by that copies every page (107 % were seen).
* Room is the least that any limit leaves: see limits.py.
* RLIMIT_NPROC is not foretold: counting a user's processes costs more than a clone
  that fails with EAGAIN, which leaves the worker unharmed.

Spools on tmpfs are admitted with their size added to the need. A relay that would
compress on the way (ENGINE notes) is not needed as long as that sum is honest.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from liveheap import limits
from liveheap.errors import CommandError
from liveheap.limits import Bound, ProcessMemory

MB = 1024 * 1024
GB = 1024 * MB

FIRST_MS_PER_GB = 25.0
HUGE_MS_PER_GB = 0.8
TABLE_TO_PAGES = 512
LEAST_HEADROOM = 16 * MB
HEADROOM_SHARE = 0.05
CLONE_SHARE = 1.1
SPOOL_BYTES_PER_OBJECT = 13 * 1.2
SPOOL_BYTES_PER_HASH = 11
SPOOL_BYTES_PER_PREVIEW = 50
MEMORY_FILE_SYSTEMS = frozenset({"tmpfs", "ramfs", "devtmpfs", "hugetlbfs"})


@dataclass(frozen=True, slots=True)
class SpoolPlace:
    """A directory for the spool; `in_memory` if its files count as memory."""

    directory: str
    free: int
    in_memory: bool


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a snapshot is expected to cost and what it may cost."""

    pause_ms: float
    need: int
    headroom: Bound
    what: str = "a walk"


class PausePredictor:
    """Foretells the stop of a fork, and learns the machine's rate from each one."""

    def __init__(self) -> None:
        self.ms_per_gb = FIRST_MS_PER_GB

    def upper_bound_ms(self, memory: ProcessMemory) -> float:
        """Foretell without the huge pages: never too low, once calibrated."""
        mapped = memory.anonymous
        if memory.page_tables:
            mapped = min(mapped, memory.page_tables * TABLE_TO_PAGES)
        return mapped / GB * self.ms_per_gb

    def predict_ms(self, memory: ProcessMemory, huge: int | None) -> float:
        """Foretell with the huge pages, if they are known."""
        if huge is None:
            return self.upper_bound_ms(memory)
        small = max(memory.anonymous - huge, 0)
        return small / GB * self.ms_per_gb + huge / GB * HUGE_MS_PER_GB

    def learn(self, pause_ns: int, memory: ProcessMemory, huge: int | None) -> None:
        """Move half way to the rate just measured.

        Small heaps say nothing about a rate. Without the huge pages the measured rate
        may be too low, so then it only ever raises ours.
        """
        small = memory.anonymous - (huge or 0)
        if small < 64 * MB:
            return
        measured = min(max(pause_ns / 1e6 / (small / GB), 5.0), 500.0)
        if huge is not None or measured > self.ms_per_gb:
            self.ms_per_gb += (measured - self.ms_per_gb) / 2


def spool_need(n_objects: int, *, texts: bool = False, values: bool = False) -> int:
    """Bytes of spool to plan for a graph of so many objects, all of them texts."""
    each = SPOOL_BYTES_PER_OBJECT + (SPOOL_BYTES_PER_HASH if texts else 0)
    each += SPOOL_BYTES_PER_PREVIEW if values else 0
    return int(n_objects * each) + MB


def spool_limit(place: SpoolPlace, planned: int) -> int:
    """Where the child's spool ends at the latest.

    On a disk the estimate of objects may be far off; in memory the plan is what was
    admitted. Neither may fill the file system to its end.
    """
    generous = planned if place.in_memory else 4 * planned + 64 * MB
    return max(min(generous, place.free * 9 // 10), 1)


def spool_place(
    directories: Sequence[str], *, need: int, root: str = "/"
) -> SpoolPlace | None:
    """Pick the first directory on a disk with enough room, else one in memory.

    Directories that are missing or not writable do not count. None if none is left.
    """
    usable = [place for name in directories if (place := _look_at(name, root))]
    roomy = [place for place in usable if place.free >= need]
    roomy.sort(key=lambda place: place.in_memory)
    if roomy:
        return roomy[0]
    return max(usable, key=lambda place: place.free, default=None)


def forecast(
    memory: ProcessMemory,
    *,
    pause_ms: float,
    spool: SpoolPlace | None,
    spool_bytes: int,
    root: str = "/",
) -> Forecast:
    """Put together what a snapshot needs and what there is."""
    need = max(int(memory.rss * HEADROOM_SHARE), LEAST_HEADROOM)
    if spool is not None and spool.in_memory:
        need += spool_bytes
    return Forecast(pause_ms=pause_ms, need=need, headroom=limits.headroom(root))


def clone_forecast(
    memory: ProcessMemory, *, pause_ms: float, root: str = "/"
) -> Forecast:
    """Put together what a clone that runs Python may come to need."""
    return Forecast(
        pause_ms=pause_ms,
        need=int(memory.rss * CLONE_SHARE) + LEAST_HEADROOM,
        headroom=limits.headroom(root),
        what="a clone that runs Python",
    )


def admit(expected: Forecast, *, max_pause_ms: float, root: str = "/") -> None:
    """Raise CommandError("refused") if the worker should not be forked now.

    The error's detail has a `cause`: memory, pause, or clone if none can be made.
    """
    admit_memory(expected)
    for bound in limits.process_bounds(root):
        if bound.room < 1:
            raise CommandError(
                "refused",
                f"{bound.name} permits no further process",
                hint="raise the limit, or ask for `histogram`",
                detail={"cause": "clone"},
            )
    if expected.pause_ms > max_pause_ms:
        raise CommandError(
            "refused",
            f"the worker would stop for about {_up(expected.pause_ms)} ms, and "
            f"{max_pause_ms:g} ms are allowed",
            hint=f"allow it with --max-pause {_up(expected.pause_ms * 1.3)} or --force",
            detail={"cause": "pause"},
        )


def admit_pause(expected: Forecast, owners_ms: float) -> None:
    """Raise CommandError("refused") above what the worker's owner allows at most."""
    if expected.pause_ms > owners_ms:
        raise CommandError(
            "refused",
            f"the worker would stop for about {_up(expected.pause_ms)} ms, and its "
            f"owner allows {owners_ms:g} ms at most",
            hint="LIVEHEAP_MAX_PAUSE of the worker says so; no client can raise it",
            detail={"cause": "pause"},
        )


def _up(ms: float) -> int:
    """Return whole milliseconds that suffice: a stop is never said to be of 0 ms."""
    return int(-(-ms // 1))


def admit_memory(expected: Forecast) -> None:
    """Raise CommandError("refused") if memory is short for a walk, forked or not."""
    if expected.headroom.room < expected.need:
        raise CommandError(
            "refused",
            f"{expected.what} needs {megabytes(expected.need)} of free memory, but "
            f"{expected.headroom.name} leaves {megabytes(expected.headroom.room)}",
            hint="give the worker more memory, or risk it with --force (the kernel "
            "kills the child first)",
            detail={"cause": "memory"},
        )


def admit_spool(
    place: SpoolPlace | None, *, need: int, looked_at: Sequence[str]
) -> None:
    """Raise CommandError("refused") if no place can hold the spool."""
    hint = "name a directory on a disk with LIVEHEAP_SPOOL"
    if place is None:
        raise CommandError(
            "refused",
            f"no writable directory for the spool (tried {', '.join(looked_at)})",
            hint=hint,
            detail={"cause": "spool"},
        )
    if place.free < need:
        raise CommandError(
            "refused",
            f"the spool needs about {megabytes(need)}, but {place.directory} has "
            f"{megabytes(place.free)} free",
            hint=hint,
            detail={"cause": "spool"},
        )


def megabytes(n_bytes: int) -> str:
    """Write bytes for a person."""
    return f"{n_bytes / MB:,.0f} MB"


def _look_at(directory: str, root: str) -> SpoolPlace | None:
    try:
        if not os.access(directory, os.W_OK | os.X_OK):
            return None
        room = os.statvfs(directory)
    except OSError:
        return None
    in_memory = limits.file_system_type(directory, root) in MEMORY_FILE_SYSTEMS
    return SpoolPlace(directory, room.f_bavail * room.f_frsize, in_memory)
