"""Injection by ptrace: how long the worker stands, and whether it lives.

Some hundred injections into targets of many kinds, which must answer after each; the
injector killed at every step it takes and at random moments; and beside it, on
targets of the same kinds, what others do with gdb: pyrasite's recipe (stop anywhere,
call the interpreter) and memray's (run to an allocation first, then do). Written anew
here from their documentation, so the figures are those of the ways, not of the tools.

`--record` (`make bench-inject`) writes inject.md beside this file, and the sums into
the README.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "integration"))
sys.path.append(str(Path(__file__).parents[1]))

import readme
from injecting import Injector, Target
from spawn import Stage
from table import Row, circumstances, markdown

from liveheap_client.errors import InjectError
from liveheap_client.inject.ptrace import inject

HERE = Path(__file__).parent
COMMAND = "make bench-inject"
SAY = "import os; os.write(1, b'#')"
KINDS = {
    "gevent-busy": "busy gevent, 20 greenlets",
    "gevent-idle": "idle gevent hub",
    "compute": "allocation-heavy",
    "recv": "waits in recv",
    "poll": "waits in poll, with a time limit",
    "sleep": "sleeps 20 ms at a time",
    "lock": "waits for a lock",
    "threads": "waits for a lock, beside 4 CPU-bound threads",
    "gil": "C calls of some 40 ms that hold the GIL",
}
BESIDE = ("gevent-busy", "compute", "lock")
KILLED = ("poll", "compute", "lock")
RANDOMLY_KILLED = ("recv", "gevent-busy", "compute", "threads")
P50_MS, P99_MS, ENOUGH = 2.0, 150.0, 300
GDB_WITHIN_S = 20.0
CELERY = """
import celery
app = celery.Celery("bench", broker="memory://")
"""


@dataclass
class Figures:
    """What came of many injections of one kind."""

    n: int = 0
    ran: int = 0
    deaths: int = 0
    errors: int = 0
    stopped_ms: list[float] = field(default_factory=list)

    def add(self, other: "Figures") -> None:
        self.n += other.n
        self.ran += other.ran
        self.deaths += other.deaths
        self.errors += other.errors
        self.stopped_ms += other.stopped_ms

    def __str__(self) -> str:
        words = f"{self.ran} of {self.n} ran, {self.deaths} deaths"
        if self.errors:
            words += f", {self.errors} refused"
        return f"{words}; stopped {self.stops()}"

    def stops(self) -> str:
        if not self.stopped_ms:
            return "-"
        p50, p99 = self.percentile(50), self.percentile(99)
        return f"{p50:.2f} / {p99:.1f} / {max(self.stopped_ms):.1f} ms"

    def percentile(self, n: int) -> float:
        ordered = sorted(self.stopped_ms) or [0.0]
        return ordered[min(len(ordered) - 1, len(ordered) * n // 100)]


def main() -> int:
    """Measure, print, and record if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=40, help="injections per kind")
    parser.add_argument("--kills", type=int, default=400, help="at random moments")
    parser.add_argument("--gdb", type=int, default=12, help="attaches per kind and way")
    parser.add_argument("--celery", type=Path, help="a folder that has Celery")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    lines = [f"- {line[2:]}" for line in circumstances(0)]
    lines[0] = lines[0].rpartition(",")[0]
    rows = [*our_rows(options), *kill_rows(options), *gdb_rows(options)]
    text = "\n".join([*lines, "", "Stopped: p50 / p99 / max.", "", markdown(rows)])
    print(text)
    if options.record:
        head = f"# Injection by ptrace, last recorded run\n\n`{COMMAND}`\n\n"
        (HERE / "inject.md").write_text(f"{head}{text}\n", encoding="utf-8")
        readme.put(
            "inject", "\n".join([f"`{COMMAND}`", "", *lines, "", *summary(rows)])
        )
    return 0 if all(row.met is not False for row in rows) else 1


def summary(rows: list[Row]) -> Iterator[str]:
    """Yield the table of the README: what stands for all kinds of targets."""
    yield "| figure | target | ours | gdb |"
    yield "| --- | --- | --- | --- |"
    for row in rows:
        figure, target, ours, beside, *_ = row.cells()
        if row.met is not None or figure.endswith(": all"):
            yield f"| {figure} | {target} | {ours} | {beside} |"


def our_rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield a row per kind of target, and their sum."""
    total = Figures()
    for kind, words in KINDS.items():
        figures = injected(kind, options.each)
        total.add(figures)
        yield Row(words, str(figures))
    with ExitStack() as stack:
        for words, pids in (
            ("gunicorn's gevent worker, under no load", gunicorn),
            ("Celery's prefork child and master", celery),
        ):
            found = stack.enter_context(pids(options))
            if not found:
                yield Row(words, "not here")
                continue
            figures = Figures()
            for pid in found:
                figures.add(injected_pid(pid, options.each // len(found)))
            total.add(figures)
            yield Row(words, str(figures))
    target = f">= {ENOUGH} injections, 0 deaths, all run; p50 <= 2 ms, p99 <= 150 ms"
    good = total.n >= ENOUGH and not total.deaths and total.ran == total.n
    fast = total.percentile(50) <= P50_MS and total.percentile(99) <= P99_MS
    yield Row("all of them", str(total), target, met=good and fast)


def injected(kind: str, n: int) -> Figures:
    """Inject into one target again and again; it must answer each time."""
    figures = Figures()
    with Target(kind) as target:
        for _ in range(n):
            figures.n += 1
            try:
                done = inject(target.pid, SAY)
                figures.ran += done.ran
                figures.stopped_ms.append(done.stopped_ms)
                target.hear(b"#")
                target.answers()
            except InjectError as error:
                print(f"{kind}: {error}", file=sys.stderr)
                figures.errors += 1
            except AssertionError as error:
                print(f"{kind}: {error}", file=sys.stderr)
                figures.deaths += 1
                return figures
    return figures


def injected_pid(pid: int, n: int) -> Figures:
    """Inject into somebody else's process."""
    figures = Figures()
    for _ in range(n):
        figures.n += 1
        try:
            done = inject(pid, "pass")
            figures.ran += done.ran
            figures.stopped_ms.append(done.stopped_ms)
        except InjectError as error:
            print(f"{pid}: {error}", file=sys.stderr)
            figures.errors += 1
        figures.deaths += not Path(f"/proc/{pid}/exe").exists()
    return figures


@contextmanager
def gunicorn(options: argparse.Namespace) -> Iterator[list[int]]:
    """Run gunicorn with a gevent worker; yield the worker's pid."""
    stage = Stage()
    site = str(HERE.parent / "integration" / "workers")
    address = f"unix:{stage.directory}/socket"
    command = [sys.executable, "-m", "gunicorn", "-k", "gevent", "-b", address]
    try:
        worker = stage.spawn_command(
            [*command, "--chdir", site, "gunicorn_app:app"],
            env={"BALLAST": "1000"},
            agent=False,
            end_signal=signal.SIGTERM,
        )
        yield [int(word) for word in worker.said.split() if word.isdigit()]
    finally:
        stage.close()


@contextmanager
def celery(options: argparse.Namespace) -> Iterator[list[int]]:
    """Run a Celery worker with one prefork child; yield the pids of both."""
    if options.celery is None:
        yield []
        return
    with tempfile.TemporaryDirectory() as name:
        Path(name, "bench_app.py").write_text(CELERY, encoding="utf-8")
        path = os.pathsep.join([str(options.celery.resolve()), name])
        command = [sys.executable, "-m", "celery", "-A", "bench_app", "worker"]
        master = subprocess.Popen(
            [*command, "-P", "prefork", "-c", "1", "-l", "INFO"],
            env={**os.environ, "PYTHONPATH": path, "C_FORCE_ROOT": "1"},
            cwd=name,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert master.stderr is not None
            for line in master.stderr:
                if "ready." in line:
                    break
            task = Path(f"/proc/{master.pid}/task/{master.pid}/children")
            threading.Thread(target=master.stderr.read, daemon=True).start()
            yield [master.pid, *map(int, task.read_text("ascii").split())]
        finally:
            master.terminate()
            master.wait(30)


def kill_rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield what becomes of targets whose injector is killed."""
    kills = deaths = 0
    for kind in KILLED:
        n, died = killed_at_each_step(kind)
        kills, deaths = kills + n, deaths + died
    words = f"{kills} kills, {deaths} deaths"
    yield Row("injector killed at every step", words, "0 deaths", met=not deaths)
    kills = deaths = 0
    for kind in RANDOMLY_KILLED:
        n, died = killed_at_random(kind, options.kills // len(RANDOMLY_KILLED))
        kills, deaths = kills + n, deaths + died
    words = f"{kills} kills, {deaths} deaths"
    yield Row("injector killed at a random moment", words, "0 deaths", met=not deaths)


def killed_at_each_step(kind: str) -> tuple[int, int]:
    """Return how often it was killed, and whether the target has died."""
    kills = 0
    with Target(kind) as target, Injector() as injector:
        for after in (False, True):
            for step in range(200):
                if not injector.dies_at(step, target.pid, after=after):
                    break
                kills += 1
                if not answers(target):
                    return kills, 1
    return kills, 0


def killed_at_random(kind: str, n: int) -> tuple[int, int]:
    """Return how often it was killed before it was done, and if the target died."""
    kills, times = 0, random.Random(kind)
    with Target(kind) as target, Injector() as injector:
        began = time.perf_counter()
        inject(target.pid, "pass")
        usual = time.perf_counter() - began
        for _ in range(n):
            kills += injector.dies_after(times.uniform(0, 2 * usual), target.pid, "0")
            if not answers(target):
                return kills, 1
    return kills, 0


def answers(target: Target) -> bool:
    """Whether the target lives and answers."""
    try:
        target.answers()
    except AssertionError as error:
        print(error, file=sys.stderr)
        return False
    return True


def gdb_rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield the same by gdb."""
    ways = {"pyrasite's recipe": pyrasite, "memray's recipe": memray}
    for name, way in ways.items():
        total = Figures()
        for kind in BESIDE:
            figures = by_gdb(kind, options.gdb, way)
            total.add(figures)
            yield Row(f"gdb, {name}: {KINDS[kind]}", "", beside=str(figures))
        yield Row(f"gdb, {name}: all", "", beside=str(total))


def by_gdb(kind: str, n: int, way: Callable[[int], list[str]]) -> Figures:
    """Attach by gdb again and again; a target that dies is replaced."""
    figures, target = Figures(), Target(kind)
    for _ in range(n):
        figures.n += 1
        with stopped_time(target.pid) as stopped:
            run_gdb(way(target.pid))
        figures.stopped_ms.append(sum(stopped))
        try:
            target.answers_and_says(b"#")
            figures.ran += 1
        except AssertionError:
            if target.process.poll() is not None:
                figures.deaths += 1
            with target:
                pass
            target = Target(kind)
    with target:
        return figures


def pyrasite(pid: int) -> list[str]:
    """Stop anywhere, take the GIL, run, give it back."""
    return [
        *("gdb", "-p", str(pid), "-nx", "-batch"),
        *("-ex", "call ((int (*)(void))PyGILState_Ensure)()"),
        *("-ex", f'call ((int (*)(char *))PyRun_SimpleString)("{SAY}")'),
        *("-ex", "call ((void (*)(int))PyGILState_Release)($1)"),
    ]


def memray(pid: int) -> list[str]:
    """Run to where memory is asked for, and leave a pending call there."""
    places = ("malloc", "calloc", "realloc", "free", "PyMem_Malloc", "PyMem_Free")
    breaks = [word for place in places for word in ("-ex", f"break {place}")]
    add = "((int (*)(void *, void *))Py_AddPendingCall)"
    return [
        *("gdb", "-p", str(pid), "-nx", "-batch", *breaks),
        *("-ex", "handle all nostop noprint pass", "-ex", "continue"),
        *("-ex", "delete"),
        *("-ex", f'call {add}(&PyRun_SimpleString, strdup("{SAY}"))'),
    ]


def run_gdb(command: list[str]) -> None:
    """Run gdb; interrupt one that waits for what never comes, as a person would."""
    gdb = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        gdb.wait(GDB_WITHIN_S)
    except subprocess.TimeoutExpired:
        gdb.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            gdb.wait(GDB_WITHIN_S)
        gdb.kill()
        gdb.wait()


@contextmanager
def stopped_time(pid: int) -> Iterator[list[float]]:
    """Yield how many milliseconds it stands, seen from outside, step by step."""
    seen: list[float] = []
    over = threading.Event()

    def look() -> None:
        last = time.perf_counter()
        while not over.wait(0.0005):
            now = time.perf_counter()
            with suppress(OSError, IndexError):
                stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
                if stat.rpartition(")")[2].split()[0] == "t":
                    seen.append((now - last) * 1e3)
            last = now

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    sys.exit(main())
