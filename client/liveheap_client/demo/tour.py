"""The tour: start the worker, run the commands a person would, judge the answers.

Nothing here is staged. The worker is a process of its own, every command runs as
`python -m liveheap_client ...` in another one, and what is printed is what it
printed. The tour knows which cache leaks, for it wrote the worker; the commands do
not. So at the end it can say whether they found it, and its exit code says so too.

The worker's sockets lie in a private LIVEHEAP_DIR, so that neither other workers
on this machine nor their owner's settings have a part in it.
"""

import importlib.util
import shlex
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from liveheap_client.demo import processes
from liveheap_client.demo.processes import DemoFailed
from liveheap_client.demo.verdict import Finding, judge, verdict_of

WORKER = Path(__file__).with_name("worker.py")
WIDTH = 80
INTERVAL_S = 3
ROUNDS = 5
DEADLINE_S = 58.0


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
        with processes.ended_by_sigterm(), ExitStack() as cleanup:
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
        self.environ = processes.private_environ(self.directory, width=WIDTH)
        self.worker = cleanup.enter_context(
            processes.running_worker(WORKER, self.environ, until=self.deadline)
        )

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
        report = self.report(rounds)
        findings = judge(report=report, growth=growth, holders=holders)
        conclude(findings)
        if self.worker.poll() is not None:
            raise DemoFailed(f"its worker ended with code {self.worker.returncode}")
        say(verdict_of(report))
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

    def report(self, rounds: Path) -> str:
        """Return what the machine is told of the rounds that the person saw."""
        words = ("leaks", "--json", *map(str, round_files(rounds)))
        return "".join(self.lines_of(words, as_terminal=False))

    def lines_of(
        self, command: Sequence[str], *, as_terminal: bool = True
    ) -> Iterator[str]:
        """Run a liveheap command and yield its output as it comes."""
        process = processes.Command(
            command,
            environ=self.environ,
            directory=self.directory,
            as_terminal=as_terminal,
        )
        yield from process.lines(until=self.deadline)
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
        "does it leak?",
        ("leaks", pid, "--interval", interval, "--rounds", count, "--keep", place),
        f"{ROUNDS} snapshots, {INTERVAL_S} s apart. The worker stood still for the "
        "pause in each round's line only. The sentence on top is the verdict; the "
        "first suspect is what gained most in every round, and who holds it. "
        "Thumbnails are replaced all the time and are not on the list: their number "
        "is the same in every round.",
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
        raise DemoFailed("leaks kept no snapshot of its rounds")
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
        "`liveheap leaks HOST/NAME --interval 10m` from your desk, over ssh."
    )


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
