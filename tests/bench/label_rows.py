"""What labels cost: a task that gets one, and a Celery worker full of tasks."""

import importlib.util
import json
import math
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from hosts.broker import MISSING, is_here, running_redis
from table import Row

HERE = Path(__file__).parent
HOLDERS = ("thread", "greenlet", "asyncio")
LONGEST_S = 1200
LEAST_RATIO = 0.99
DRAWS = 1000
WALL, CPU = 1, 2
BATCH = 10
Batch = tuple[bool, float, float]


def label_rows(*, pairs: int) -> Iterator[Row]:
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
    yield from celery_rows(pairs)


def celery_rows(pairs: int) -> Iterator[Row]:
    """Yield the throughput with the agent, as a share of that without, and the noise.

    A busy machine shows in seconds and hardly in seconds of CPU, by which the target is
    judged: this worker has nothing else to wait for than its CPU.
    """
    title = "Celery, gevent × 50, agent at rest: throughput by CPU time"
    target = f">= {LEAST_RATIO:.2f}"
    if importlib.util.find_spec("celery") is None or not is_here():
        yield Row(title, f"not measured: no celery, or {MISSING}", target)
        return
    with (
        tempfile.TemporaryDirectory(prefix="lh-") as directory,
        running_redis(Path(directory)) as socket,
    ):
        found = run("celery_rate.py", str(socket), str(pairs), str(BATCH))
    ours, noise = split(found)
    us = {
        with_agent: median(
            batch[CPU] for pair in ours for batch in pair if batch[0] is with_agent
        )
        * (1e6 / BATCH)
        for with_agent in (True, False)
    }
    ratio = Ratio.of(ours, CPU)
    yield Row(
        title,
        f"{us[True]:.0f} us a task; {ratio.interval}; by the clock "
        f"{Ratio.of(ours, WALL).median:.3f}",
        target,
        beside=f"without agent {us[False]:.0f} us",
        ratio=f"{ratio.median:.3f}",
        met=ratio.median >= LEAST_RATIO,
    )
    none = Ratio.of(noise, CPU)
    yield Row(
        "the same without an agent in either half: what the machine does to it",
        none.interval,
        beside=f"by the clock {Ratio.of(noise, WALL).median:.3f}",
        ratio=f"{none.median:.3f}",
    )


def split(pairs: list[list[Batch]]) -> tuple[list[list[Batch]], list[list[Batch]]]:
    """Return the pairs of which one half has an agent, and those where neither has."""
    ours = [pair for pair in pairs if pair[0][0] is not pair[1][0]]
    return ours, [pair for pair in pairs if pair[0][0] is pair[1][0]]


@dataclass(frozen=True, slots=True)
class Ratio:
    """How fast batches with an agent are beside those without.

    The second batch of a pair is a little faster than the first, whatever runs. So the
    medians of either order are taken apart, and their geometric mean has no order. Of
    pairs without an agent every other one counts as if its first half had one.
    """

    median: float
    interval: str

    @classmethod
    def of(cls, pairs: list[list[Batch]], unit: int) -> "Ratio":
        """Of pairs of batches, by seconds or by seconds of CPU.

        The interval is that of 19 in 20 draws from these pairs.
        """
        orders: tuple[list[float], list[float]] = ([], [])
        for number, (first, second) in enumerate(pairs):
            is_first = first[0] if first[0] is not second[0] else number % 2 == 0
            ours, other = (first, second) if is_first else (second, first)
            orders[is_first].append(other[unit] / ours[unit])
        choice = random.Random(1)
        drawn = sorted(
            middle([choice.choices(each, k=len(each)) for each in orders])
            for _ in range(DRAWS)
        )
        low, high = drawn[DRAWS // 40], drawn[-DRAWS // 40]
        interval = f"{low:.3f} to {high:.3f} in {len(pairs)} pairs"
        return cls(middle(orders), interval)


def middle(orders: Sequence[Sequence[float]]) -> float:
    """Return the geometric mean of the medians."""
    return math.sqrt(math.prod(median(each) for each in orders))


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
    for row in label_rows(pairs=int((sys.argv[1:] or ["4500"])[0])):
        print("  ".join(filter(None, row.cells())), flush=True)
