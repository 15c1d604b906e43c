"""Pause, speed and size: ours, bare forks and the rivals on one heap in one run.

The order within a pair changes from pair to pair, so that a machine which gets slower
or faster meanwhile favours nobody. Each snapshot has bare forks beside it that are
watched for as long as it took: a ticker that is watched longer sees more noise. And
after each snapshot the worker rests for as long as after a fork: a clone right after
the end of another's child finds the kernel's page structures in the caches, and takes a
quarter less than one after a second's rest (seen at 5 M objects, of whatever kind).
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from driver import Failed, Target
from table import Row

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Paired:
    """What the alternating pairs gave, by kind."""

    by_kind: dict[str, list[Figures]]

    def median(self, kind: str, name: str) -> float:
        return median(figures[name] for figures in self.by_kind[kind])

    def spread(self, kind: str, name: str) -> str:
        values = sorted(figures[name] for figures in self.by_kind[kind])
        low, high = values[len(values) // 10], values[-1 - len(values) // 10]
        return f"{median(values):.1f} ms ({low:.1f}-{high:.1f})"

    def ratio(self, kind: str, beside: str, name: str) -> float:
        return self.median(kind, name) / self.median(beside, name)


def measure_pairs(target: Target, pairs: int) -> Paired:
    """Alternate bare forks, bare clones, the engine alone and the whole way."""
    file = target.directory / "pair.liveheap"
    with target.caller() as caller:
        target.whole_way(caller, file)
        kinds: dict[str, Callable[[], Figures]] = {
            "fork": lambda: target.do("bare_fork", window_s=lasts("engine")),
            "clone": lambda: target.do("bare_clone", window_s=lasts("engine")),
            "engine": lambda: target.do("engine"),
            "whole": lambda: target.whole_way(caller, file),
            "fork, whole": lambda: target.do("bare_fork", window_s=lasts("whole")),
        }
        by_kind: dict[str, list[Figures]] = {kind: [] for kind in kinds}

        def lasts(kind: str) -> float:
            measured = by_kind[kind] or [kinds[kind]()]
            return float(measured[-1]["seconds"])

        order = list(kinds)
        for _ in range(pairs):
            for kind in order:
                figures = kinds[kind]()
                by_kind[kind].append(figures)
                if kind in ("engine", "whole"):
                    time.sleep(figures["seconds"])
            order = order[1:] + order[:1]
    return Paired(by_kind)


def rest_row(target: Target, seconds: float) -> Row:
    gap_ms = target.do("rest", seconds=seconds)["gap_ms"]
    return Row(f"ticker at rest, longest gap in {seconds:g} s", f"{gap_ms:.1f} ms")


def pause_rows(paired: Paired, label: str) -> Iterator[Row]:
    pairs = len(paired.by_kind["fork"])
    for kind, beside, what in (
        ("engine", "fork", "clone and walk"),
        ("whole", "fork, whole", "whole way to a file"),
    ):
        ratio = paired.ratio(kind, beside, "gap_ms")
        yield Row(
            f"pause, {label}: longest ticker gap, {what}, median of {pairs}",
            paired.spread(kind, "gap_ms"),
            "<= 1.15x a bare fork",
            f"os.fork {paired.spread(beside, 'gap_ms')}",
            f"{ratio:.2f}x",
            ratio <= 1.15,
        )
    clone = paired.ratio("engine", "clone", "call_ms")
    yield Row(
        f"the clone call itself, {label}",
        paired.spread("engine", "call_ms"),
        "",
        f"bare clone {paired.spread('clone', 'call_ms')}; "
        f"os.fork {paired.spread('fork', 'call_ms')}",
        f"{clone:.2f}x",
    )


def timeline_row(paired: Paired, label: str) -> Row:
    """What of the whole way is not the child's walk: what is left to win there."""
    whole_s, walk_s, call_ms = (
        paired.median("whole", name) for name in ("seconds", "walk_s", "call_ms")
    )
    rest_s = whole_s - walk_s - call_ms / 1e3
    return Row(
        f"of the whole snapshot, {label}: walk, clone, all that does not overlap",
        f"{walk_s:.3f} s, {call_ms / 1e3:.3f} s, {rest_s:.3f} s",
        beside="admission, the last ranges, reading back, fsync, rename",
    )


def rival_rows(target: Target, paired: Paired, label: str) -> Iterator[Row]:
    """Run the rivals; guppy3 last, for it changes the heap that it reads."""
    whole_s = paired.median("whole", "seconds")
    rivals = (
        ("pure_python", "pure-Python closure", 7.0),
        ("guppy", "guppy3 str(hp.heap())", 10.0),
    )
    for action, name, target_ratio in rivals:
        try:
            figures = target.do(action)
        except Failed as failure:
            yield Row(f"{name}, {label}", "", beside=str(failure))
            continue
        ratio = figures["seconds"] / whole_s
        yield Row(
            f"whole snapshot, walk to verified file, {label}",
            f"{whole_s:.3f} s",
            f">= {target_ratio:g}x faster",
            f"{name} {figures['seconds']:.2f} s",
            f"{ratio:.1f}x",
            ratio >= target_ratio,
        )
        if action == "guppy":
            yield from gap_rows(figures, paired, label)


def gap_rows(guppy: Figures, paired: Paired, label: str) -> Iterator[Row]:
    for kind, what in (("engine", "clone and walk"), ("whole", "whole way")):
        gap_ms = paired.median(kind, "gap_ms")
        share = guppy["gap_ms"] / gap_ms
        yield Row(
            f"pause, {label}: gap over gap, {what}",
            f"{gap_ms:.1f} ms",
            "<= 1/50 of guppy3",
            f"guppy3 {guppy['gap_ms']:.0f} ms",
            f"1/{share:.0f}",
            share >= 50,
        )


def walk_rows(paired: Paired, age: str) -> Iterator[Row]:
    """The child's CPU time, its clone's share and its end included."""
    least, most = {"fresh": (14.0, 6.0), "aged": (8.0, 7.0)}[age]
    nodes = paired.median("engine", "nodes")
    cpu_s = paired.median("engine", "child_cpu_s")
    rate = nodes / cpu_s / 1e6
    yield Row(
        f"child's walk and raw write, CPU, {age} ({nodes / 1e6:.2f} M objects)",
        f"{rate:.1f} M objects/s",
        f">= {least:g} M/s",
        f"{cpu_s:.3f} s CPU, {paired.median('engine', 'walk_s'):.3f} s walk by clock",
        "",
        rate >= least,
    )
    per_object = paired.median("whole", "file_bytes") / nodes
    raw = paired.median("whole", "raw_length") / nodes
    yield Row(
        f"file, {age}",
        f"{per_object:.2f} B/object",
        f"<= {most:g} B/object",
        f"raw {raw:.2f} B/object",
        "",
        per_object <= most,
    )
