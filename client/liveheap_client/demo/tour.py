"""The tour: start the worker, run the commands a person would, judge the answers.

Nothing here is staged. The worker is a process of its own, every command runs as
`python -m liveheap_client ...` in another one, and what is printed is what it
printed. The tour knows which cache leaks, for it wrote the worker; the commands do
not. So at the end it can say whether they found it, and its exit code says so too.

The worker's sockets lie in a private LIVEHEAP_DIR, so that neither other workers
on this machine nor their owner's settings have a part in it.
"""

import importlib.util
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from liveheap_client.demo.verdict import Finding, judge

WORKER = Path(__file__).with_name("worker.py")
WIDTH = 80
INTERVAL_S = 4
ROUNDS = 4
DEADLINE_S = 58.0


class DemoFailed(Exception):
    """The tour cannot go on; the message says at what."""


@dataclass(frozen=True, slots=True)
class Stop:
    """One command of the tour, and what a person should look at in its output."""

    title: str
    command: tuple[str, ...]
    look_at: str


def main(argv: Sequence[str] | None = None) -> int:
    """Watch a leaking gevent worker from start to verdict; takes under a minute."""
    if argv:
        print("liveheap: demo takes no arguments", file=sys.stderr)
        return 2
    missing = [
        name for name in ("gevent", "numpy") if importlib.util.find_spec(name) is None
    ]
    if missing:
        print(f"liveheap: the demo needs {' and '.join(missing)}", file=sys.stderr)
        print("hint: pip install 'liveheap[cli,gevent]'", file=sys.stderr)
        return 1
    try:
        with ended_by_sigterm(), ExitStack() as cleanup:
            return Tour(cleanup).run()
    except DemoFailed as failure:
        print(f"liveheap: the demo failed: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("liveheap: demo interrupted, its worker is gone", file=sys.stderr)
        return 130


class Tour:
    """A worker, a private directory and a clock, from start to clean-up."""

    def __init__(self, cleanup: ExitStack) -> None:
        self.deadline = time.monotonic() + DEADLINE_S
        self.directory = Path(
            cleanup.enter_context(tempfile.TemporaryDirectory(prefix="liveheap-demo-"))
        )
        self.environ = private_environ(self.directory)
        self.worker = cleanup.enter_context(running_worker(self.environ, self.deadline))

    def run(self) -> int:
        """Make every stop, then say whether the leak was found."""
        pid = str(self.worker.pid)
        say(
            f"A gevent worker runs as process {pid}. It imports invoices, asks a "
            "partner, draws thumbnails, scores baskets, and it grows. Nobody "
            "restarted it or changed its code; `liveheap.start()` is all it has."
        )
        rounds = self.directory / "rounds"
        self.stop(find_it())
        self.stop(ask_it(pid))
        growth = self.stop(hunt(pid, rounds))
        holders = self.stop(who_holds(rounds))
        report = self.output_of(("diff", "--json", *map(str, round_files(rounds))))
        findings = judge(report=report, growth=growth, holders=holders)
        conclude(findings)
        if self.worker.poll() is not None:
            raise DemoFailed(f"its worker ended with code {self.worker.returncode}")
        return 0 if all(finding.found for finding in findings) else 1

    def stop(self, stop: Stop) -> str:
        """Show one stop and return what its command printed."""
        print(f"\n--- {stop.title} ".ljust(WIDTH, "-"))
        print(f"$ liveheap {as_typed(stop.command)}", flush=True)
        lines = []
        for line in self.lines_of(stop.command):
            lines.append(line)
            print(line, end="", flush=True)
        print()
        say(stop.look_at, bullet="-> ")
        return "".join(lines)

    def output_of(self, command: Sequence[str]) -> str:
        return "".join(self.lines_of(command))

    def lines_of(self, command: Sequence[str]) -> Iterator[str]:
        """Run a liveheap command and yield its output as it comes."""
        left_s = self.deadline - time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "liveheap_client", *command],
            env=self.environ,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        with process, killed_after(process, left_s):
            assert process.stdout is not None
            yield from process.stdout
        if process.returncode:
            raise DemoFailed(
                f"`liveheap {as_typed(command)}` ended with code {process.returncode}"
            )


def find_it() -> Stop:
    return Stop(
        "which workers are there?",
        ("ps",),
        "One line for each worker of yours on this machine that can be asked.",
    )


def ask_it(pid: str) -> Stop:
    return Stop(
        "how is it?",
        ("status", pid),
        "RSS, age, threads, greenlets. This costs the worker microseconds.",
    )


def hunt(pid: str, rounds: Path) -> Stop:
    interval, count, place = str(INTERVAL_S), str(ROUNDS), rounds.name
    return Stop(
        "what grows?",
        ("diff", pid, "--interval", interval, "--rounds", count, "--save", place),
        f"{ROUNDS} snapshots, {INTERVAL_S} s apart. The worker stood still for the "
        "pause in each round's line only. The first suspect is the path that gained "
        "most in every round: module, attribute, container, type. Thumbnails are "
        "replaced all the time and are not on the list: their number is the same "
        "in every round.",
    )


def who_holds(rounds: Path) -> Stop:
    newest = round_files(rounds)[-1].relative_to(rounds.parent)
    return Stop(
        "who holds the attachments?",
        ("backrefs", "Attachment", str(newest)),
        "No module, no cache: they live in the local variable `outgoing` of "
        "`ask_partner`, in greenlets that wait for an answer.",
    )


def round_files(rounds: Path) -> list[Path]:
    files = sorted(rounds.glob("*.liveheap"))
    if not files:
        raise DemoFailed("diff kept no snapshot of its rounds")
    return files


def conclude(findings: Sequence[Finding]) -> None:
    """Print what was found, and of what it should have found, what was not."""
    print("\n--- the answer ".ljust(WIDTH, "-"))
    for finding in findings:
        word = "found" if finding.found else "NOT FOUND"
        say(f"{finding.sentence}: {finding.evidence}", bullet=f"{word}: ")
    print()
    say(
        "On your own worker: `import liveheap; liveheap.start()`, then "
        "`liveheap diff HOST/NAME --interval 600` from your desk, over ssh."
    )


def private_environ(directory: Path) -> dict[str, str]:
    """Return an environment in which nothing of ours but this demo exists."""
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("LIVEHEAP")
    }
    environ["LIVEHEAP_DIR"] = str(directory / "run")
    environ["COLUMNS"] = str(WIDTH)
    environ["NO_COLOR"] = "1"
    environ["PYTHONUNBUFFERED"] = "1"
    (directory / "run").mkdir(mode=0o700)
    return environ


@contextmanager
def running_worker(
    environ: dict[str, str], deadline: float
) -> Iterator["subprocess.Popen[str]"]:
    """Start the worker, wait until it serves, and end it at the exit."""
    worker = subprocess.Popen(
        [sys.executable, str(WORKER)],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert worker.stdout is not None
        with killed_after(worker, deadline - time.monotonic()):
            said = worker.stdout.readline()
        if said != "ready\n":
            raise DemoFailed("its worker did not start")
        yield worker
    finally:
        worker.kill()
        worker.communicate()


@contextmanager
def killed_after(process: "subprocess.Popen[str]", seconds: float) -> Iterator[None]:
    """Kill a process that is not through in time, or that we leave by an error."""
    timer = threading.Timer(max(seconds, 0.1), process.kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    except BaseException:
        process.kill()
        raise
    finally:
        timer.cancel()


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Make SIGTERM and SIGHUP leave the way Ctrl-C does, through every clean-up."""

    def leave(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {
        number: signal.signal(number, leave)
        for number in (signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def as_typed(command: Sequence[str]) -> str:
    return shlex.join(command)


def say(text: str, *, bullet: str = "") -> None:
    """Print a paragraph that fits the terminal."""
    print(
        textwrap.fill(
            text, WIDTH - 1, initial_indent=bullet, subsequent_indent=" " * len(bullet)
        ),
        flush=True,
    )
