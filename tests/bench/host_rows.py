"""A whole host: sixty workers listed, and what it costs a task to be measured.

The workers are a master and its forks, of some ten thousand objects each. `ps` is the
whole command, the interpreter's start included. A task is a call of 20 us in a label:
nothing that a worker does is smaller.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from driver import Failed
from table import Row

WORKERS = 60
LOOKS = 9
START_WITHIN_S = 30.0
MASTER = """
import os, signal, sys, liveheap
held = [[number] for number in range(10000)]
liveheap.start()
for _ in range(int(sys.argv[1])):
    if not os.fork():
        signal.pause()
sys.stdin.read()
os.killpg(0, signal.SIGKILL)
"""
TASKS = """
import json, os, sys, time, liveheap
from liveheap import tasks
if sys.argv[1] == "agent":
    liveheap.start()
held = [[number] for number in range(int(sys.argv[2]))]
def work():
    end = time.perf_counter() + 20e-6
    while time.perf_counter() < end:
        pass
labelled = liveheap.task("work")(work)
took = []
for _ in range(40):
    began = time.perf_counter()
    for _ in range(2500):
        labelled()
    took.append((time.perf_counter() - began) / 2500)
print(json.dumps(sorted(took)[len(took) // 2]))
"""


def host_rows() -> Iterator[Row]:
    yield ps_row()
    for objects in (10_000, 1_000_000):
        yield task_row(objects)


def ps_row() -> Row:
    """The whole command, once all workers are there."""
    with farm(WORKERS) as environ:
        looks = [look(environ) for _ in range(LOOKS)]
    took = median(seconds for seconds, _ in looks)
    answering = min(sum(row["state"] == "answers" for row in rows) for _, rows in looks)
    return Row(
        f"the whole command `liveheap ps`, {WORKERS + 1} workers",
        f"{took:.2f} s",
        "< 0.3 s",
        f"{answering} of them answer what they do",
        met=took < 0.3,
    )


@contextmanager
def farm(workers: int) -> Iterator[dict[str, str]]:
    """Run a master and its forks; give the environment that sees them."""
    with tempfile.TemporaryDirectory(prefix="lh-") as run_dir:
        environ = {**os.environ, "LIVEHEAP_DIR": run_dir}
        master = subprocess.Popen(
            [sys.executable, "-c", MASTER, str(workers)],
            env=environ,
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            end = time.monotonic() + START_WITHIN_S
            while len(list(Path(run_dir).glob("*.sock"))) <= workers:
                if time.monotonic() > end:
                    raise Failed(f"{workers} workers are not there")
                time.sleep(0.05)
            yield environ
        finally:
            master.communicate()


def look(environ: dict[str, str]) -> tuple[float, list[dict[str, object]]]:
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "liveheap_client", "ps", "--json"],
        env=environ,
        capture_output=True,
        check=True,
    )
    return time.perf_counter() - began, json.loads(done.stdout)


def task_row(objects: int) -> Row:
    """A label beside none: what begin, end and the measuring between them cost."""
    with_agent, without = (timed(kind, objects) for kind in ("agent", "none"))
    return Row(
        f"a task of 20 us with a label, {objects:,} objects",
        f"{(with_agent - without) * 1e6:.1f} us more",
        "",
        f"{without * 1e6:.1f} us without an agent",
        f"{with_agent / without:.3f}x",
    )


def timed(kind: str, objects: int) -> float:
    with tempfile.TemporaryDirectory(prefix="lh-") as run_dir:
        done = subprocess.run(
            [sys.executable, "-c", TASKS, kind, str(objects)],
            env={**os.environ, "LIVEHEAP_DIR": run_dir},
            capture_output=True,
            check=True,
        )
    return float(json.loads(done.stdout))
