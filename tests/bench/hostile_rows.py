"""Two hundred hostile clients at once, while the worker works and an honest one asks.

The worker answers requests of its own, some milliseconds of computing each, on its main
thread; they are timed with the crowd at the door and without it, in turns, so that
what else the machine does meets both alike. So are the honest client's pings, and how
long a client takes that comes in the middle of it. The crowd is tests/crowd.py.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from agent_rows import ping
from table import Row, markdown

from liveheap.errors import LiveheapError
from liveheap.protocol.auth import Scope
from liveheap_client.dial import DialOptions
from liveheap_client.session import Session
from liveheap_client.target import parse

CROWD = Path(__file__).parents[1] / "crowd.py"
HOSTILE = 200
ROUNDS = 5
REQUESTS, PINGS, NEWCOMERS = 150, 100, 4
REST_S = 0.01
GONE_WITHIN_S = 15.0
WORKER = """
import sys, liveheap
liveheap.start(strict=True)
held = [[number] for number in range(50000)]
print("ready", flush=True)
for line in sys.stdin:
    squares = sum(number * number for number in range(20000))
    print(sum(map(len, held)) + squares, flush=True)
"""


@dataclass
class Figures:
    """What was measured, in milliseconds, with the crowd and without."""

    requests: list[float] = field(default_factory=list)
    pings: list[float] = field(default_factory=list)
    newcomers: list[float] = field(default_factory=list)
    files: int = 0
    threads: int = 0


class Besieged:
    """A worker that serves its own requests and has an agent."""

    def __init__(self, directory: str) -> None:
        self.environ = {**os.environ, "LIVEHEAP_DIR": directory}
        self.directory = Path(directory)
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            env=self.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        self.process.stdout.readline()
        self.socket = str(next(self.directory.glob("*.sock")))

    def serve(self) -> float:
        """Have one request of its own served; return how long that took."""
        assert self.process.stdin
        assert self.process.stdout
        began = time.perf_counter()
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        self.process.stdout.readline()
        return (time.perf_counter() - began) * 1e3

    def session(self) -> Session:
        return Session.open(
            parse(f"unix:{self.socket}"),
            scope=Scope.READ,
            options=DialOptions(environ=self.environ),
        )

    def count(self, what: str) -> int:
        """Count its open files (`fd`) or threads (`task`)."""
        return len(os.listdir(f"/proc/{self.process.pid}/{what}"))

    @property
    def rss_kib(self) -> int:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") // 1024

    @contextlib.contextmanager
    def crowd(self, number: int) -> Iterator[dict[str, int]]:
        """Let the crowd press in; what it did is in the dict afterwards."""
        did: dict[str, int] = {}
        process = subprocess.Popen(
            [sys.executable, CROWD, self.socket, self.directory / "token", str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            time.sleep(1.0)
            yield did
        finally:
            said, _ = process.communicate()
            did.update(json.loads(said))


def hostile_rows(*, rounds: int = ROUNDS, hostile: int = HOSTILE) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="lh-") as directory:
        worker = Besieged(directory)
        try:
            yield from _rows(worker, rounds, hostile)
        finally:
            worker.process.communicate()


def _rows(worker: Besieged, rounds: int, hostile: int) -> Iterator[Row]:
    idle, besieged, came = Figures(), Figures(), 0
    with worker.session() as session:
        _measure(worker, session, Figures())
        with worker.crowd(hostile):
            _measure(worker, session, Figures())
        _calm(worker)
        before = worker.rss_kib, worker.count("fd"), worker.count("task")
        for _ in range(rounds):
            _measure(worker, session, idle)
            with worker.crowd(hostile) as did:
                _measure(worker, session, besieged)
            came += sum(did.values()) - did["in"]
            _calm(worker)
        grown = worker.rss_kib - before[0]
        after = worker.count("fd"), worker.count("task")
    name = f"{hostile} hostile connections at once"
    yield _compared(f"{name}: an honest client's ping, p95", idle.pings, besieged.pings)
    yield _served(f"{name}: the worker's own requests", idle, besieged)
    yield Row(
        f"{name}: a client that comes meanwhile, longest of {len(besieged.newcomers)}",
        f"{max(besieged.newcomers):.0f} ms",
        "< 5000 ms",
        f"{max(idle.newcomers):.0f} ms without them",
        met=max(besieged.newcomers) < 5000,
    )
    yield Row(
        f"{name}: memory, files and threads of the worker",
        f"{grown:+,} KiB; at most {besieged.files} files, {besieged.threads} threads",
        "< +1,024 KiB; all gone after",
        f"{came:,} came in; after: files {after[0] - before[1]:+}, "
        f"threads {after[1] - before[2]:+}",
        met=grown < 1024
        and all(left <= had for left, had in zip(after, before[1:], strict=True)),
    )


def _measure(worker: Besieged, session: Session, figures: Figures) -> None:
    for number in range(max(REQUESTS, PINGS)):
        if number < REQUESTS:
            figures.requests.append(worker.serve())
        if number < PINGS:
            began = time.perf_counter()
            ping(session)
            figures.pings.append((time.perf_counter() - began) * 1e3)
        figures.files = max(figures.files, worker.count("fd"))
        figures.threads = max(figures.threads, worker.count("task"))
        time.sleep(REST_S)
    for _ in range(NEWCOMERS):
        figures.newcomers.append(_come(worker))


def _come(worker: Besieged) -> float:
    """Open a session and be answered; again while those with the token fill it."""
    began = time.perf_counter()
    while True:
        with contextlib.suppress(LiveheapError), worker.session() as newcomer:
            newcomer.request("status")
            return (time.perf_counter() - began) * 1e3
        time.sleep(REST_S)


def _calm(worker: Besieged) -> None:
    """Wait until only the honest session is left."""
    end = time.monotonic() + GONE_WITHIN_S
    while time.monotonic() < end:
        with contextlib.suppress(Exception), worker.session() as session:
            shape = session.request("status")
            if shape.as_dict()["sessions"] == 2:  # type: ignore[union-attr]
                break
        time.sleep(0.1)
    while worker.count("task") > 3 and time.monotonic() < end:
        time.sleep(0.05)


def _compared(name: str, idle: list[float], besieged: list[float]) -> Row:
    before, now = p95(idle), p95(besieged)
    return Row(
        name,
        f"{now:.2f} ms",
        "< 5x idle",
        f"{before:.2f} ms without them",
        f"{now / before:.2f}x",
        met=now < 5 * before,
    )


def _served(name: str, idle: Figures, besieged: Figures) -> Row:
    before, now = median(idle.requests), median(besieged.requests)
    return Row(
        f"{name}, median (p95)",
        f"{now:.2f} ms ({p95(besieged.requests):.2f})",
        "< 1.1x",
        f"{before:.2f} ms ({p95(idle.requests):.2f}) without them",
        f"{now / before:.3f}x",
        met=now < 1.1 * before,
    )


def p95(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.95)]


if __name__ == "__main__":
    print(markdown(list(hostile_rows())))
