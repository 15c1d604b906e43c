"""What labels cost: a task that gets one, and a Celery worker full of tasks."""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from hosts.broker import MISSING, is_here, running_redis
from table import Row

HERE = Path(__file__).parent
HOLDERS = ("thread", "greenlet", "asyncio")
LONGEST_S = 600
LEAST_RATIO = 0.99
WALL, CPU = 1, 2


def label_rows(*, batches: int, size: int = 500) -> Iterator[Row]:
    """Yield the cost of a label, and the throughput of Celery with it."""
    with_us, without = (run("label_cost.py", LIVEHEAP=each) for each in ("1", "0"))
    figures = ", ".join(f"{each} {with_us[each] / 1000:.2f} us" for each in HOLDERS)
    yield Row(
        "a task's label: begin and end",
        figures,
        "< 3 us",
        beside=f"without agent {max(without.values()) / 1000:.2f} us",
        met=max(with_us.values()) < 3000,
    )
    yield celery_row(batches, size)


def celery_row(batches: int, size: int) -> Row:
    """Return the throughput with the agent, as a share of that without."""
    title = f"Celery, gevent × 50, agent at rest: throughput, {batches} × {size} tasks"
    target = f">= {LEAST_RATIO:.2f}"
    if importlib.util.find_spec("celery") is None or not is_here():
        return Row(title, f"not measured: no celery, or {MISSING}", target)
    with (
        tempfile.TemporaryDirectory(prefix="lh-") as directory,
        running_redis(Path(directory)) as socket,
    ):
        found = run("celery_rate.py", str(socket), str(batches), str(size))
    ratio, cpu_ratio = (median(ratios(found, of)) for of in (WALL, CPU))
    rates = [
        size / median(each[WALL] for each in found if each[0] is with_us)
        for with_us in (True, False)
    ]
    return Row(
        title,
        f"{rates[0]:.0f} a second, {cpu_ratio:.3f} by CPU time",
        target,
        beside=f"without agent {rates[1]:.0f} a second",
        ratio=f"{ratio:.3f}",
        met=ratio >= LEAST_RATIO,
    )


def ratios(found: list[tuple[bool, float, float]], of: int) -> list[float]:
    """Return for each two neighbours how fast the one with the agent was."""
    pairs = [sorted([first, second]) for first, second in pairwise(found)]
    return [without[of] / with_us[of] for without, with_us in pairs]


def run(script: str, *words: str, **env: str) -> Any:
    """Run a script of this folder; return what it printed, read as JSON."""
    with tempfile.TemporaryDirectory(prefix="lh-") as directory:
        done = subprocess.run(
            [sys.executable, str(HERE / script), *words],
            env={**os.environ, "LIVEHEAP_DIR": directory, **env},
            stdout=subprocess.PIPE,
            check=True,
            timeout=LONGEST_S,
        )
    return json.loads(done.stdout)


if __name__ == "__main__":
    for row in label_rows(batches=int((sys.argv[1:] or ["60"])[0])):
        print("  ".join(filter(None, row.cells())), flush=True)
