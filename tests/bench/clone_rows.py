"""What a frozen clone costs a worker of a gigabyte under load, and what its death does.

The pause is all that the worker's interpreter stands still for: frames, CPython's own
code around a fork, the fork. Beside it the bare clone of the same process, in turn. The
throughput is counted without a copy, beside one that computes `h[0].byvia` and the like
on another core and behind the worker, without one again, and so on: what happens beside
a copy is set against the mean of before and after. All of it has bounds: what a copy
still computes at a batch's end is left, and the copy ends with its session.
"""

import contextlib
import itertools
import os
import signal
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from driver import Failed, Target, running_program
from table import Row

from liveheap.errors import LiveheapError
from liveheap.protocol.auth import Scope
from liveheap.protocol.messages import Result
from liveheap_client.session import Session

ALLOW = {"LIVEHEAP_ALLOW": "exec"}
CLONE = {"max_pause_ms": 60_000.0, "force": True}
DEAF = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})"
SPIN = "print('on', flush=True)\nwhile True: pass"
EXPLORE = "h[0].byvia", "h.byrcs", "objgraph.most_common_types()"
SETTLE_S = 0.5
SLICE_S = 10.0
ENOUGH, STEADY = 0.95, 1.1


@dataclass(frozen=True, slots=True)
class Batches:
    """How much to count."""

    pauses: int
    copies: int
    alone_s: float
    explore_s: float


def clone_rows(objects: int, batches: Batches) -> Iterator[Row]:
    place = running_program("clone_target.py", objects, more=ALLOW)
    with place as target:
        label = f"{target.facts['rss'] / 1e9:.2g} GB under load"
        yield pause_row(target, label, batches.pauses)
        yield from exploring_rows(target, label, batches)
        yield deaths_row(target, label)


def pause_row(target: Target, label: str, pauses: int) -> Row:
    ours, bare = [], []
    for _ in range(pauses):
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


def exploring_rows(target: Target, label: str, batches: Batches) -> Iterator[Row]:
    """Compare what is done beside a copy that computes with before and after."""
    alone, explored = [alone_count(target, batches.alone_s)], []
    for _ in range(batches.copies):
        explored.append(explored_counts(target, batches.explore_s))
        alone.append(alone_count(target, batches.alone_s))
    ratios, by_cpu = [], []
    for each, before, after in zip(explored, alone, alone[1:], strict=False):
        usual = before.plus(after)
        ratios += [one.a_second / usual.a_second for one in each.slices]
        by_cpu += [one.a_cpu_second / usual.a_cpu_second for one in each.slices]
    ratio, usual_s = fmean(ratios), [one.a_second for one in alone]
    is_quiet = max(usual_s) <= STEADY * min(usual_s)
    verdicts = {ratio >= ENOUGH, fmean(by_cpu) >= ENOUGH}
    is_plain = is_quiet or len(verdicts) == 1
    busy = "" if is_plain else "; not judged: the worker alone was not steady either"
    yield Row(
        f"throughput while the clone is explored, {label}",
        f"{fmean(one.a_second for each in explored for one in each.slices):.0f} a "
        f"second; {min(usual_s):.0f} to {max(usual_s):.0f} alone",
        ">= 0.95",
        f"{min(ratios):.3f} to {max(ratios):.3f} in {len(ratios)} batches beside "
        f"{len(explored)} copies; {fmean(by_cpu):.3f} by CPU time{busy}",
        f"{ratio:.3f}",
        ratio >= ENOUGH if is_plain else None,
    )
    first_s = [each.first_s for each in explored if each.first_s is not None]
    took = f"{min(first_s):.1f} s" if first_s else f"not in {batches.explore_s:g} s"
    yield Row(
        f"clone, after exploring: memory of its own, {label}",
        f"{max(each.own for each in explored) / 1e6:.0f} MB",
        beside=f"h[0].byvia at first: {took}",
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

    def plus(self, other: "Count") -> "Count":
        return Count(
            self.requests + other.requests,
            self.seconds + other.seconds,
            self.cpu_seconds + other.cpu_seconds,
        )

    @property
    def a_second(self) -> float:
        return self.requests / self.seconds

    @property
    def a_cpu_second(self) -> float:
        return self.requests / self.cpu_seconds


def alone_count(target: Target, seconds: float) -> Count:
    before = Count.of(target)
    time.sleep(seconds)
    return Count.of(target).since(before)


@dataclass(frozen=True, slots=True)
class Explored:
    """What was counted beside one copy, and what that copy came to."""

    slices: list[Count]
    first_s: float | None
    """How long the first question took; None if it had no answer by the end."""
    own: float


def explored_counts(target: Target, seconds: float) -> Explored:
    """Count slice by slice while a copy answers one question after the other."""
    with target.session(Scope.VALUES) as session:
        made(session)
        began = time.monotonic()
        slices, first_s, before = [], None, Count.of(target)
        for is_answer in exploring(session):
            now = time.monotonic()
            if is_answer and first_s is None:
                first_s = now - began
            if now - before.seconds >= min(SLICE_S, seconds):
                at = Count.of(target)
                slices.append(at.since(before))
                before = at
            if now - began >= seconds:
                return Explored(slices, first_s, own_bytes(target))
    raise Failed("the copy answers no more")


def exploring(session: Session) -> Iterator[bool]:
    """Ask for ever; yield at least every two seconds, and true with each answer."""
    for code in itertools.cycle(EXPLORE):
        asked = {"code": code, "whole": True}
        with contextlib.closing(session.stream("clone-ask", asked)) as events:
            for event in events:
                yield isinstance(event, Result)


def own_bytes(target: Target) -> float:
    with target.session(Scope.READ) as session:
        status = session.request("status").as_dict()  # type: ignore[union-attr]
        return float(status.get("clone_memory") or 0)


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
