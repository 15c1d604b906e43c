"""From the last byte of the last snapshot to the suspects on the screen.

Measured as a user sees it: `liveheap diff PID --interval 3 --keep DIR` runs, or
`leaks`, while the worker grows between the rounds. The file of a round gets its final
name when its last byte is verified, and the clock stops when the line that was waited
for has come out of the command: the first suspect's path, the verdict.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from driver import Failed, Target, liveheap
from table import Row

LIMIT_S = 3.0
LIMIT_OBJECTS = 1_000_000
LEAKS_LIMIT_S, LEAKS_OBJECTS, LEAKS_ROUNDS = 10.0, 2_000_000, 4
GROWN_RECORDS = 2_000


@dataclass(frozen=True, slots=True)
class Hunted:
    """What a hunt took after its last snapshot was there, and what it said."""

    first_s: float
    whole_s: float
    line: str
    files: list[Path]


def growth_rows(target: Target, objects: int) -> Iterator[Row]:
    live = hunt(target, "diff", rounds=2, until="1. ")
    yield Row(
        "from the last byte of the second snapshot to the first suspects",
        f"{live.first_s:.2f} s",
        f"<= {LIMIT_S:g} s at 1 M",
        "live diff of two rounds",
        met=live.first_s <= LIMIT_S if objects <= LIMIT_OBJECTS else None,
    )
    before = time.perf_counter()
    done = liveheap("diff", "--json", *live.files, environ=target.environ)
    seconds = time.perf_counter() - before
    suspects = json.loads(done.stdout)["suspects"]
    first = suspects[0]["path"] if suspects else "none"
    yield Row(
        "the whole command `liveheap diff A B`, from files",
        f"{seconds:.2f} s",
        beside=f"first suspect: {first}",
    )


def leaks_rows(target: Target, objects: int) -> Iterator[Row]:
    live = hunt(target, "leaks", rounds=LEAKS_ROUNDS, until="")
    yield Row(
        f"`leaks` of {LEAKS_ROUNDS} rounds, {objects / 1e6:g} M objects: from the last "
        "byte of the last snapshot to the whole screen",
        f"{live.whole_s:.2f} s",
        f"<= {LEAKS_LIMIT_S:g} s at 2 M",
        f"its first line after {live.first_s:.2f} s: {live.line}",
        met=live.whole_s <= LEAKS_LIMIT_S if objects <= LEAKS_OBJECTS else None,
    )
    before = time.perf_counter()
    liveheap("leaks", *live.files, environ=target.environ)
    yield Row(
        f"the whole command `liveheap leaks FILE...`, {LEAKS_ROUNDS} such files",
        f"{time.perf_counter() - before:.2f} s",
    )


def hunt(target: Target, verb: str, *, rounds: int, until: str) -> Hunted:
    """Let a verb take rounds of a target that grows in between."""
    kept = target.directory / verb
    target.do("grow", records=GROWN_RECORDS)
    words = [verb, str(target.pid), "--interval", "3", "--rounds", str(rounds)]
    process = subprocess.Popen(
        [sys.executable, "-m", "liveheap_client", *words, "--force", "--keep", kept],
        env={**target.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        for taken in range(1, rounds):
            while len(files_in(kept)) < taken and process.poll() is None:
                time.sleep(0.01)
            target.do("grow", records=GROWN_RECORDS)
        assert process.stdout is not None
        seen_at, seen = 0.0, ""
        for line in process.stdout:
            if not seen_at and line.startswith(until):
                seen_at, seen = time.time(), line.strip()
        ended_at = time.time()
    files = files_in(kept)
    if process.returncode or len(files) != rounds or not seen_at:
        raise Failed(f"{verb} ended with {process.returncode}, {len(files)} files")
    last = os.stat(files[-1]).st_ctime
    return Hunted(seen_at - last, ended_at - last, seen, files)


def files_in(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.liveheap"))
