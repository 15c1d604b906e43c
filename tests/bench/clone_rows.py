"""What a frozen clone costs a worker of a gigabyte under load, and what its death does.

The pause is all that the worker's interpreter stands still for: frames, CPython's own
code around a fork, the fork. Beside it the bare clone of the same process, in turn. The
throughput is counted in paired batches: one with nobody asking, one while a copy
computes `h[0].byvia` and the like, on another core and behind the worker.
"""

import contextlib
import os
import signal
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from driver import Failed, Target, running_program
from table import Row

from liveheap.errors import LiveheapError
from liveheap.protocol.auth import Scope
from liveheap_client.session import Session

ALLOW = {"LIVEHEAP_ALLOW": "exec"}
CLONE = {"max_pause_ms": 60_000.0, "force": True}
DEAF = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})"
SPIN = "print('on', flush=True)\nwhile True: pass"
EXPLORE = "h[0].byvia", "h.byrcs", "objgraph.most_common_types()", "h[0].rp"
SETTLE_S = 0.5


def clone_rows(objects: int, *, pairs: int, batch_s: float) -> Iterator[Row]:
    place = running_program("clone_target.py", objects, more=ALLOW)
    with place as target:
        label = f"{target.facts['rss'] / 1e9:.2g} GB under load"
        yield pause_row(target, label, pairs)
        yield from exploring_rows(target, label, pairs, batch_s)
        yield deaths_row(target, label)


def pause_row(target: Target, label: str, pairs: int) -> Row:
    ours, bare = [], []
    for _ in range(2 * pairs + 1):
        bare.append(target.do("bare")["ns"] / 1e6)
        with target.session(Scope.VALUES) as session:
            ours.append(float(made(session)["pause"]) * 1e3)
    ratio = median(a / b for a, b in zip(ours, bare, strict=True))
    return Row(
        f"clone's pause, {label}",
        f"{median(ours):.1f} ms",
        "<= 1.3x a bare fork",
        f"bare {median(bare):.1f} ms",
        f"{ratio:.2f}x",
        ratio <= 1.3,
    )


def exploring_rows(
    target: Target, label: str, pairs: int, batch_s: float
) -> Iterator[Row]:
    """Compare batches without a copy and with one that computes all the time."""
    ratios, by_cpu, own, first_s = [], [], 0.0, 0.0
    for _ in range(pairs):
        before = Count.of(target)
        time.sleep(batch_s)
        alone = Count.of(target).since(before)
        with target.session(Scope.VALUES) as session:
            made(session)
            before = Count.of(target)
            own, first_s = explore(session, until=time.monotonic() + batch_s)
            explored = Count.of(target).since(before)
        ratios.append(explored.a_second / alone.a_second)
        by_cpu.append(explored.a_cpu_second / alone.a_cpu_second)
        time.sleep(SETTLE_S)
    ratio = median(ratios)
    yield Row(
        f"throughput while the clone is explored, {label}",
        f"{alone.a_second:.0f} a second alone, {explored.a_second:.0f} beside it",
        ">= 0.95",
        f"{min(ratios):.3f} to {max(ratios):.3f} in {pairs} pairs of batches; "
        f"{median(by_cpu):.3f} by CPU time",
        f"{ratio:.3f}",
        ratio >= 0.95,
    )
    yield Row(
        f"clone, after exploring: memory of its own, {label}",
        f"{own / 1e6:.0f} MB",
        beside=f"h[0].byvia at first: {first_s:.1f} s",
    )


@dataclass(frozen=True, slots=True)
class Count:
    """Requests, and the time and the worker's CPU time that they took."""

    requests: int
    seconds: float
    cpu_seconds: float

    @classmethod
    def of(cls, target: Target) -> "Count":
        main = Path(f"/proc/{target.pid}/task/{target.pid}/schedstat")
        cpu_ns = int(main.read_text().split()[0])
        return cls(counted(target), time.monotonic(), cpu_ns / 1e9)

    def since(self, before: "Count") -> "Count":
        return Count(
            self.requests - before.requests,
            self.seconds - before.seconds,
            self.cpu_seconds - before.cpu_seconds,
        )

    @property
    def a_second(self) -> float:
        return self.requests / self.seconds

    @property
    def a_cpu_second(self) -> float:
        return self.requests / self.cpu_seconds


def explore(session: Session, *, until: float) -> tuple[float, float]:
    """Ask one thing after the other; return the copy's own bytes, and the first's time.

    What runs at the end is interrupted: the batch is over.
    """
    own, first_s, asked = 0.0, 0.0, 0
    while time.monotonic() < until or not asked:
        began = time.monotonic()
        code = EXPLORE[asked % len(EXPLORE)]
        shape = session.request("clone-ask", {"code": code, "whole": True})
        answer = shape.as_dict()  # type: ignore[union-attr]
        own = float(answer["own"])
        first_s = first_s or time.monotonic() - began
        asked += 1
    return own, first_s


def deaths_row(target: Target, label: str) -> Row:
    """Let copies die in the middle of something; see that the worker goes on."""
    outcomes = []
    for name, end in (("killed", kill), ("wedged", interrupt)):
        with target.session(Scope.EXEC) as session:
            pid = int(made(session, python=True)["pid"])
            with contextlib.suppress(LiveheapError):
                die(session, pid, end)
            before = counted(target)
            time.sleep(SETTLE_S)
            goes_on = counted(target) > before and not os.path.exists(f"/proc/{pid}")
            outcomes.append(f"{name}: {'the worker goes on' if goes_on else 'FAILED'}")
    met = all("FAILED" not in each for each in outcomes)
    return Row(f"the clone's death, {label}", "; ".join(outcomes), met=met)


def die(session: Session, pid: int, end: Callable[[Session, int], None]) -> None:
    code = f"{DEAF}\n{SPIN}"
    with contextlib.closing(
        session.stream("clone-ask", {"code": code, "whole": True})
    ) as events:
        next(events)
        end(session, pid)
        for _ in events:
            pass


def kill(_session: Session, pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def interrupt(session: Session, _pid: int) -> None:
    session.interrupt()


def made(session: Session, **more: object) -> dict[str, object]:
    shape = session.request("clone", {**CLONE, **more})
    facts: dict[str, object] = shape.as_dict()  # type: ignore[union-attr]
    return facts


def counted(target: Target) -> int:
    """Return how many requests the worker has answered."""
    data = (target.directory / "counter").read_bytes()
    if len(data) != 8:
        raise Failed("the worker counts nothing")
    return int(struct.unpack("<q", data)[0])
