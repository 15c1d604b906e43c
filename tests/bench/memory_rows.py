"""Extra memory of worker and child: proportional set sizes, read near the walk's end.

The child is stopped when it has met 97 % of the objects (or as late as it was caught),
then both processes' Pss is summed and compared with the worker's before. Page tables
are not in Pss: the child's are shown beside it.
"""

import contextlib
import os
import signal
from pathlib import Path

from driver import Failed, Target
from table import Row

SHARES_MET = (0.97, 0.95, 0.9, 0.8)


def memory_row(target: Target) -> Row:
    figures = first_caught(target)
    percent = 100 * figures["extra"] / figures["rss"]
    return Row(
        f"extra memory of worker and child, RSS {figures['rss'] / 1e3:.0f} MB, "
        f"at {100 * figures['caught']:.0f} % of the walk",
        f"{percent:.1f} % ({figures['extra'] / 1e3:.1f} MB)",
        "<= 4 % of RSS, RSS >= 500 MB",
        f"page tables of the child {figures['tables'] / 1e3:.1f} MB more",
        "",
        percent <= 4,
    )


def first_caught(target: Target) -> dict[str, float]:
    """Return the figures of the latest moment at which a child could be caught."""
    for share in SHARES_MET:
        for _ in range(3):
            with contextlib.suppress(OSError, KeyError):
                return extra_memory(target, share)
    raise Failed("every child was through before it could be looked at")


def extra_memory(target: Target, share: float) -> dict[str, float]:
    """Stop a child near its end and look; kB. KeyError if it has ended."""
    before = memory(target.pid)
    child = target.do("engine_held", share=share)
    try:
        together = memory(child["pid"])["Pss"] + memory(target.pid)["Pss"]
        tables = status(child["pid"])["VmPTE"]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child["pid"], signal.SIGCONT)
        target.do("engine_released")
    return {
        "extra": together - before["Pss"],
        "rss": before["Rss"],
        "tables": tables,
        "caught": child["share"],
    }


def memory(pid: int) -> dict[str, int]:
    return fields(Path(f"/proc/{pid}/smaps_rollup").read_text())


def status(pid: int) -> dict[str, int]:
    return fields(Path(f"/proc/{pid}/status").read_text())


def fields(text: str) -> dict[str, int]:
    """Return the lines `Name: number kB` of a file under /proc."""
    found = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[2] == "kB":
            found[words[0].rstrip(":")] = int(words[1])
    return found
