"""What /proc shows of a worker of this machine that does not answer.

While a call holds the GIL, nothing in the process can speak for it. The kernel can: how
big it is, whether its main thread computes or sleeps and in what, and which of its
threads burns the processor. That costs the worker nothing.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from liveheap_client.quantities import human_bytes

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_MOST_THREADS = 256
_AT_LEAST_S = 0.2
_STATES = {
    "R": "computes",
    "S": "sleeps",
    "D": "waits in the kernel, uninterruptibly",
    "T": "is stopped",
    "t": "is stopped by a debugger",
    "Z": "has ended",
    "I": "is idle",
}


@dataclass(frozen=True, slots=True)
class Glimpse:
    """A process at one moment."""

    taken: float
    rss_bytes: int
    state: str
    waits_in: str
    ticks: Mapping[int, int]
    """Processor time of each thread."""


def glimpse(pid: int) -> Glimpse | None:
    """Look at a process; None if it is gone or may not be looked at."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
        state, _ = _thread(pid, pid)
        names = sorted(map(int, os.listdir(f"/proc/{pid}/task")))[:_MOST_THREADS]
    except (OSError, ValueError, IndexError):
        return None
    ticks = {}
    for tid in names:
        try:
            ticks[tid] = _thread(pid, tid)[1]
        except (OSError, ValueError, IndexError):
            continue
    return Glimpse(time.monotonic(), pages * _PAGE, state, _waits_in(pid), ticks)


def told(pid: int, before: Glimpse | None) -> str:
    """Say what shows of a process, and what it did since `before`, or just now."""
    if before is None:
        before = glimpse(pid)
        time.sleep(_AT_LEAST_S)
    now = glimpse(pid)
    if now is None:
        return f"process {pid} has ended, or may not be looked at"
    main = _STATES.get(now.state, f"is in state {now.state}")
    if now.state == "S" and now.waits_in:
        main += f" ({now.waits_in})"
    threads = "1 thread" if len(now.ticks) == 1 else f"{len(now.ticks)} threads"
    text = (
        f"from outside: RSS {human_bytes(now.rss_bytes)}, {threads}, "
        f"the main one {main}"
    )
    busiest = _busiest(before, now)
    return f"{text}; {busiest}" if busiest else text


def _busiest(before: Glimpse | None, now: Glimpse) -> str:
    """Say which thread has used most of the processor since."""
    if before is None or now.taken <= before.taken:
        return ""
    used = {tid: n - before.ticks.get(tid, n) for tid, n in now.ticks.items()}
    tid = max(used, key=lambda each: used[each], default=0)
    share = 100 * used.get(tid, 0) / _TICKS / (now.taken - before.taken)
    if share < 10:
        return "" if now.state == "R" else "none of them uses the processor"
    return f"thread {tid} uses {min(share, 100):.0f} % of a processor"


def _thread(pid: int, tid: int) -> tuple[str, int]:
    text = Path(f"/proc/{pid}/task/{tid}/stat").read_text("utf-8", "replace")
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[11]) + int(fields[12])


def _waits_in(pid: int) -> str:
    try:
        name = Path(f"/proc/{pid}/wchan").read_text("ascii", "replace").strip()
    except OSError:
        return ""
    return "" if name == "0" else name[:64]
