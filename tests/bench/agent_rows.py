"""The agent at rest, and how fast it answers: idle and beside a CPU-bound thread.

A ping is the smallest exchange there is: a request for a command that does not exist,
and its failure. `status` is shown too, as what people really ask.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from driver import Failed, Target
from table import Row

from liveheap.errors import CommandError
from liveheap.protocol.auth import Scope
from liveheap_client.session import Session

FORBIDDEN = frozenset(
    {"asyncio", "ssl", "logging", "numpy", "rich", "click", "subprocess"}
)
SPIN_S = 15.0
BUSY_PINGS = 100
REST_S = 0.01
SETTLE_WITHIN_S = 10.0


def agent_rows(target: Target, *, rest_s: float, pings: int) -> Iterator[Row]:
    yield rest_row(target, rest_s)
    yield footprint_row()
    with target.session(Scope.READ) as session:
        questions = (("ping", ping, (1.0, 10.0)), ("status", status, (None, 15.0)))
        for name, ask, limits in questions:
            idle_ms = p50_ms(session, ask, pings)
            busy_ms = beside_cpu(
                target, lambda ask=ask: p50_ms(session, ask, min(pings, BUSY_PINGS))
            )
            yield latency_row(name, "idle", idle_ms, limits[0])
            yield latency_row(name, "beside CPU-bound Python", busy_ms, limits[1])


def rest_row(target: Target, rest_s: float) -> Row:
    """CPU time of the agent's threads while nobody asks.

    The session before may still be ending, and its thread's work is none at rest.
    """
    end = time.monotonic() + SETTLE_WITHIN_S
    while len(own_threads(target)) > 1 and time.monotonic() < end:
        time.sleep(REST_S)
    before = agent_cpu_ns(target)
    time.sleep(rest_s)
    per_minute_ms = (agent_cpu_ns(target) - before) / 1e6 * 60 / rest_s
    return Row(
        f"agent at rest, CPU of its threads over {rest_s:g} s",
        f"{per_minute_ms:.3f} ms a minute",
        "< 1 ms a minute",
        met=per_minute_ms < 1,
    )


def agent_cpu_ns(target: Target) -> int:
    """Sum the run time of all threads that are neither main nor the ticker."""
    return sum(
        int(Path(f"/proc/{target.pid}/task/{thread}/schedstat").read_text().split()[0])
        for thread in own_threads(target)
    )


def own_threads(target: Target) -> set[int]:
    tasks = Path(f"/proc/{target.pid}/task").iterdir()
    return {int(task.name) for task in tasks} - {target.pid, target.facts["ticker"]}


def footprint_row() -> Row:
    """What liveheap.start() adds to a bare interpreter."""
    code = (
        "import json, os, sys, threading; before = set(sys.modules);"
        "import liveheap; liveheap.start();"
        "print(json.dumps([sorted(set(sys.modules) - before),"
        "[t.name for t in threading.enumerate() if not t.daemon]]))"
    )
    with tempfile.TemporaryDirectory() as run_dir:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "LIVEHEAP_DIR": run_dir},
            capture_output=True,
            text=True,
            check=True,
        )
    modules, lasting = json.loads(done.stdout)
    foreign = [name for name in modules if name.partition(".")[0] in FORBIDDEN]
    return Row(
        "agent at rest: what start() adds to a bare interpreter",
        f"{len(modules)} modules, {len(lasting) - 1} non-daemon threads",
        f"none of {', '.join(sorted(FORBIDDEN))}; no thread",
        f"forbidden: {', '.join(foreign) or 'none'}",
        met=not foreign and len(lasting) == 1,
    )


def ping(session: Session) -> None:
    with contextlib.suppress(CommandError):
        session.request("no-such-command")


def status(session: Session) -> None:
    session.request("status")


def p50_ms(session: Session, ask: Callable[[Session], None], pings: int) -> float:
    """Ask with a rest in between, as people do.

    Back to back the agent would keep the GIL from one ping to the next, and the
    figure would flatter it.
    """
    taken = []
    for _ in range(pings):
        time.sleep(REST_S)
        before = time.perf_counter()
        ask(session)
        taken.append(time.perf_counter() - before)
    return median(taken) * 1e3


def beside_cpu(target: Target, measure: Callable[[], float]) -> float:
    """Measure while the target's main thread computes."""
    target.do("spin", seconds=SPIN_S)
    measured = measure()
    if select.select([target.process.stdout], [], [], 0)[0]:
        target.read()
        raise Failed(f"the pings were not through in {SPIN_S:g} s")
    target.read()
    return measured


def latency_row(name: str, beside: str, taken_ms: float, limit_ms: float | None) -> Row:
    return Row(
        f"{name} p50, {beside}",
        f"{taken_ms:.2f} ms",
        "" if limit_ms is None else f"< {limit_ms:g} ms",
        met=None if limit_ms is None else taken_ms < limit_ms,
    )
