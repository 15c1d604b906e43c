"""What takes several calls of the kernel, in one: facts on this process, a log's line.

Python gives the GIL away for each system call. Beside code that computes it takes five
milliseconds to get it back; a dozen calls made `status` wait a tenth of a second. So
the engine makes them in one go (csrc/process.c). Where it cannot be loaded, the same
is done from here, call by call.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from dataclasses import dataclass

from liveheap import memory

try:
    from liveheap import _heap
except Exception:  # whatever it is: heap.py says so, and here it is only slower
    _heap = None  # type: ignore[assignment]  # as if it were not there

TICKS = os.sysconf("SC_CLK_TCK")
FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
NEVER_WAIT = os.O_NONBLOCK  # for the reader of a pipe that somebody put there
_THREADS, _STARTED, _RSS = 17, 19, 21


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """What /proc says of this process; None where it does not say."""

    rss: int | None
    threads: int | None
    uptime: float | None
    descriptors: int | None

    @property
    def started(self) -> float | None:
        """When it started, in seconds since 1970; to the tenth, for clocks drift."""
        return None if self.uptime is None else round(time.time() - self.uptime, 1)


def look() -> ProcessFacts:
    """Look at /proc/self."""
    stat, descriptors = _look_slowly() if _heap is None else _heap.look()
    # The second field is the program's name, and may contain anything.
    fields = stat.rpartition(b")")[2].split()
    if len(fields) <= _RSS:
        return ProcessFacts(None, None, None, None)
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    return ProcessFacts(
        rss=int(fields[_RSS]) * memory.PAGE,
        threads=int(fields[_THREADS]),
        uptime=max(now - int(fields[_STARTED]) / TICKS, 0.0),
        descriptors=None if descriptors < 0 else descriptors,
    )


def size() -> tuple[int, int | None]:
    """Return the resident bytes and the open files; a third of what `look` costs."""
    if _heap is None:
        with suppress(OSError):
            return memory.rss(), memory.descriptors()
        return 0, None
    text, descriptors = _heap.size()
    fields = text.split()
    rss = int(fields[1]) * memory.PAGE if len(fields) > 1 else 0
    return rss, None if descriptors < 0 else descriptors


def _look_slowly() -> tuple[bytes, int]:
    stat = b""
    with suppress(OSError), open("/proc/self/stat", "rb", buffering=0) as file:
        stat = file.read()
    known = memory.descriptors()
    return stat, -1 if known is None else known


def append(path: str, line: bytes, limit: int) -> None:
    """Add a line to a log; one that would exceed the limit becomes PATH.1 first.

    Raises:
        OSError: the line is lost.
    """
    if _heap is not None:
        _heap.append(path, line, limit)
    else:
        _append_slowly(path, line, limit)


def _append_slowly(path: str, line: bytes, limit: int) -> None:
    file = os.open(path, FLAGS | NEVER_WAIT, 0o600)
    try:
        status = os.fstat(file)
        if status.st_size + len(line) > limit:
            with suppress(FileNotFoundError):  # another process renames it just now
                if os.stat(path).st_ino == status.st_ino:
                    os.rename(path, f"{path}.1")
            os.close(file)
            file = os.open(path, FLAGS | NEVER_WAIT, 0o600)
            status = os.fstat(file)
        written = os.write(file, line)
        if written < len(line):
            _take_back(file, status.st_size, written)
    finally:
        os.close(file)


def _take_back(file: int, length: int, written: int) -> None:
    """Cut the beginning of a line off again if nobody has written behind it."""
    if os.fstat(file).st_size == length + written:
        os.ftruncate(file, length)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
