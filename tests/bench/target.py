"""The process that every tool of the benchmark is let loose on.

One heap, built by `heaps.mix`; one ticker thread that sleeps 1 ms at a time and notes
the gaps; one agent. The driver (run.py) writes one JSON object a line to stdin,
{"do": name, ...arguments}, and reads one back. The rivals run here, on the main
thread, as an agent of theirs would; ours runs as in production, asked by a client from
another process, and once more through `Heap` alone.

The longest gap of the ticker between `begin` and `end` is the pause that a request of
this worker would have felt. A gap that the action caused ends with the ticker's next
tick, so each action waits for one before it reads the list.
"""

import contextlib
import gc
import json
import os
import resource
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import heaps

import liveheap
from liveheap import _heap
from liveheap.heap import Heap

TICK_S = 0.001


class Ticker:
    """A thread that would like to run every millisecond."""

    def __init__(self) -> None:
        self.gaps: list[float] = []
        self.thread = threading.Thread(target=self.run, name="ticker", daemon=True)
        self.thread.start()

    def run(self) -> None:
        last = time.perf_counter()
        while True:
            time.sleep(TICK_S)
            now = time.perf_counter()
            self.gaps.append(now - last)
            last = now

    def begin(self) -> None:
        self.gaps.clear()

    def longest_ms(self) -> float:
        """Return the longest gap since `begin`, the running one included."""
        seen = len(self.gaps)
        while len(self.gaps) < seen + 2:
            time.sleep(TICK_S)
        return max(self.gaps) * 1e3


class Target:
    """The actions that the driver may ask for; each returns what goes back to it."""

    def __init__(self, objects: int, aged: bool) -> None:
        self.keep = heaps.mix(objects, aged=aged)
        self.more: list[object] = []
        gc.collect()
        self.heap = Heap()
        self.ticker = Ticker()
        self.child_cpu_s = children_cpu_s()

    def facts(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "rss": resident_bytes(),
            "ticker": self.ticker.thread.native_id,
            "unsupported": self.heap.unsupported,
        }

    def rest(self, seconds: float) -> dict[str, Any]:
        with self.measured() as figures:
            time.sleep(seconds)
        return figures

    def begin(self) -> dict[str, Any]:
        self.ticker.begin()
        self.child_cpu_s = children_cpu_s()
        return {}

    def end(self) -> dict[str, Any]:
        gap_ms = self.ticker.longest_ms()
        return {"gap_ms": gap_ms, "child_cpu_s": children_cpu_s() - self.child_cpu_s}

    def bare_fork(self, window_s: float) -> dict[str, Any]:
        """os.fork and _exit; measured for as long as a snapshot takes."""
        with self.measured(window_s) as figures, warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            before = time.perf_counter()
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            figures["call_ms"] = (time.perf_counter() - before) * 1e3
            os.waitpid(pid, 0)
        return figures

    def bare_clone(self, window_s: float) -> dict[str, Any]:
        """The clone that a snapshot uses, of a child that ends at once."""
        with self.measured(window_s) as figures:
            figures["call_ms"] = _heap.bare_clone() / 1e6
        return figures

    def engine(self) -> dict[str, Any]:
        """A snapshot into the spool through Heap: no agent, no client."""
        with (
            self.measured() as figures,
            self.heap.snapshot(force=True) as walk,
        ):
            if not walk.wait(120):
                raise TimeoutError("the walk did not end in 120 s")
            outcome = walk.outcome()
        figures.update(
            call_ms=walk.pause_ns / 1e6,
            complete=outcome.complete,
            reason=outcome.reason,
            nodes=outcome.nodes,
            edges=outcome.edges,
            raw_length=outcome.raw_length,
            walk_s=outcome.walk_ns / 1e9,
            child_cpu_s=outcome.cpu_s,
        )
        return figures

    def engine_held(self, share: float) -> dict[str, Any]:
        """Start a walk and stop its child once it has met that share of the heap."""
        with self.heap.snapshot(force=True) as first:
            first.wait(120)
            nodes = first.outcome().nodes
        self.held = self.heap.snapshot(force=True)
        while (met := self.held.progress()).nodes < share * nodes and not met.done:
            pass
        os.kill(self.held.pid, signal.SIGSTOP)
        return {"pid": self.held.pid, "share": self.held.progress().nodes / nodes}

    def engine_released(self) -> dict[str, Any]:
        """Let the held walk end."""
        with self.held:
            self.held.wait(120)
        return {}

    def pure_python(self) -> dict[str, Any]:
        """What a tool without C can do: see heaps.closure."""
        with self.measured() as figures:
            figures["nodes"] = heaps.closure()
        return figures

    def guppy(self) -> dict[str, Any]:
        """The whole of `print(hpy().heap())`, as its users type it."""
        hpy = __import__("guppy").hpy
        with self.measured() as figures:
            figures["text"] = str(hpy().heap()).splitlines()[0]
        return figures

    def grow(self, records: int) -> dict[str, Any]:
        self.more.append(heaps.mix(records * 27, seed=len(self.more) + 1))
        return {}

    def spin(self, seconds: float) -> dict[str, Any]:
        """Say so, then hold the interpreter as a CPU-bound request does."""
        print(json.dumps({"spins": True}), flush=True)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            sum(range(500))
        return {}

    @contextlib.contextmanager
    def measured(self, window_s: float = 0.0) -> Iterator[dict[str, Any]]:
        """Time a block, and the ticker's longest gap over it or over the window."""
        figures: dict[str, Any] = {}
        self.ticker.begin()
        before = time.perf_counter()
        yield figures
        figures["seconds"] = time.perf_counter() - before
        time.sleep(max(0.0, window_s - figures["seconds"]))
        figures["gap_ms"] = self.ticker.longest_ms()


def resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def answer(target: Target, request: dict[str, Any]) -> dict[str, Any]:
    action: Callable[..., dict[str, Any]] = getattr(target, request.pop("do"))
    try:
        return action(**request)
    except Exception as error:  # the driver shows it in the row concerned
        return {"error": f"{type(error).__name__}: {error}"}


def main() -> None:
    objects, age = int(sys.argv[1]), sys.argv[2]
    if os.environ.get("LIVEHEAP") != "0":
        liveheap.start()
    target = Target(objects, aged=age == "aged")
    print(json.dumps(target.facts()), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(target, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
