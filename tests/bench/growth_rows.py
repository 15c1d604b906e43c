"""From the last byte of the second snapshot to the first suspects on the screen.

Measured as a user sees it: `liveheap diff PID --interval 1 --keep DIR` runs, the file
of the second round gets its final name when its last byte is verified, and the clock
stops when a line with the first suspect's path has come out of the command.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from driver import Failed, Target, liveheap
from table import Row

LIMIT_S = 3.0
LIMIT_OBJECTS = 1_000_000
GROWN_RECORDS = 2_000


def growth_rows(target: Target, objects: int) -> Iterator[Row]:
    live_s, kept = live_diff(target)
    yield Row(
        "from the last byte of the second snapshot to the first suspects",
        f"{live_s:.2f} s",
        f"<= {LIMIT_S:g} s at 1 M",
        "live diff of two rounds",
        met=live_s <= LIMIT_S if objects <= LIMIT_OBJECTS else None,
    )
    before = time.perf_counter()
    done = liveheap("diff", "--json", *kept, environ=target.environ)
    seconds = time.perf_counter() - before
    suspects = json.loads(done.stdout)["suspects"]
    first = suspects[0]["path"] if suspects else "none"
    yield Row(
        "the whole command `liveheap diff A B`, from files",
        f"{seconds:.2f} s",
        beside=f"first suspect: {first}",
    )


def live_diff(target: Target) -> tuple[float, list[Path]]:
    """Return the seconds from the second file to the first suspect, and the files."""
    kept = target.directory / "rounds"
    target.do("grow", records=GROWN_RECORDS)
    words = ["diff", str(target.pid), "--interval", "3", "--rounds", "2", "--force"]
    process = subprocess.Popen(
        [sys.executable, "-m", "liveheap_client", *words, "--keep", str(kept)],
        env={**target.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        while not list(kept.glob("*.liveheap")) and process.poll() is None:
            time.sleep(0.01)
        target.do("grow", records=GROWN_RECORDS)
        assert process.stdout is not None
        seen_at = 0.0
        for line in process.stdout:
            if not seen_at and line.startswith("1. "):
                seen_at = time.time()
    files = sorted(kept.glob("*.liveheap"))
    if process.returncode or len(files) != 2 or not seen_at:
        raise Failed(f"diff ended with {process.returncode}, {len(files)} files")
    return seen_at - os.stat(files[1]).st_ctime, files
