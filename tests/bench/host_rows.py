"""A whole host: sixty workers listed, and what it costs a task or a fork to be seen.

The workers are a master and its forks, of some ten thousand objects each. `ps` is the
whole command, the interpreter's start included. A task is a call of 20 us in a label:
nothing that a worker does is smaller. A fork is what RQ does for each job, here of a
process that has imported it, and of a job that does nothing: by CPU time, which a busy
machine does not lengthen much, of the parent and the child together.
"""

import importlib.util
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
FORK_RUNS = 7
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
FORKS = """
import json, os, resource, sys, liveheap, rq
def used():
    both = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return [sum(getattr(resource.getrusage(who), name) for who in both)
            for name in ("ru_utime", "ru_stime", "ru_minflt")]
def job():
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
if sys.argv[1] == "agent":
    liveheap.start(strict=True)
for _ in range(20):
    job()
before = used()
for _ in range(100):
    job()
user, system, faults = (after - was for after, was in zip(used(), before))
print(json.dumps([user + system, faults]))
"""


def host_rows() -> Iterator[Row]:
    yield ps_row()
    if importlib.util.find_spec("rq") is not None:
        yield fork_row()
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


def fork_row() -> Row:
    """A hundred jobs of RQ that do nothing, each in a fork: medians of some runs."""
    found: dict[str, list[list[float]]] = {"agent": [], "none": []}
    for _ in range(FORK_RUNS):
        for kind, runs in found.items():
            runs.append(json.loads(script(FORKS, kind)))
    cpu, faults = (
        {kind: median(run[of] for run in runs) for kind, runs in found.items()}
        for of in (0, 1)
    )
    return Row(
        "100 forks for a job of RQ, CPU of parent and child",
        f"{cpu['agent'] * 10:.2f} ms each, {faults['agent'] / 100:.0f} pages copied",
        "",
        f"{cpu['none'] * 10:.2f} ms, {faults['none'] / 100:.0f} pages without an agent",
        f"{cpu['agent'] / cpu['none']:.2f}x",
    )


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
    return float(json.loads(script(TASKS, kind, str(objects))))


def script(code: str, *words: str) -> bytes:
    """Run a program; return what it printed."""
    with tempfile.TemporaryDirectory(prefix="lh-") as run_dir:
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            env={**os.environ, "LIVEHEAP_DIR": run_dir},
            capture_output=True,
            check=True,
        )
    return done.stdout
