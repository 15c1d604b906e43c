"""Dominators and retained sizes beside two graph libraries, and how fast a file loads.

    python tests/bench/dominator_rows.py --objects 10000000

Each way runs in a process of its own, one after the other, on the same graph, which is
that of a snapshot of the target. The libraries come with the group `bench`.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from driver import Failed, Target, liveheap, running_target
from table import Row, markdown

RIVALS = {"igraph": 10_000_000, "rustworkx": 5_000_000}
"""And the objects of which each still answers in some minutes."""
MOST_BYTES_A_NODE = 110
FASTER = 4
LIMIT_S = {1_000_000: 1.5, 10_000_000: 12.0}
LOAD_LIMIT_S, LOAD_OBJECTS = 5.0, 10_000_000
LRU_LINKS = 200_000
DEADLINE_S = 1800


def dominator_rows(target: Target, objects: int) -> Iterator[Row]:
    file = target.directory / "dominators.liveheap"
    with target.caller() as caller:
        figures = target.whole_way(caller, file)
    yield from load_rows(target, file, figures["nodes"])
    ours = run("ours", file)
    label = f"{ours['nodes'] / 1e6:.2f} M nodes, {ours['edges'] / 1e6:.1f} M edges"
    limit_s = LIMIT_S.get(objects)
    yield Row(
        f"dominators and retained sizes, {label}",
        f"{ours['find_s']:.2f} s",
        f"<= {limit_s:g} s" if limit_s else "",
        f"{ours['clock_s']:.2f} s by the clock",
        met=ours["find_s"] <= limit_s if limit_s else None,
    )
    a_node = ours["peak"] / ours["nodes"]
    yield Row(
        "their memory at the peak, beside the graph",
        f"{a_node:.0f} B/node",
        f"<= {MOST_BYTES_A_NODE}",
        met=a_node <= MOST_BYTES_A_NODE,
    )
    for rival, most_objects in RIVALS.items():
        if objects <= most_objects:
            yield rival_row(rival, file, ours)
    yield from lru_rows()


def load_rows(target: Target, file: Path, nodes: int) -> Iterator[Row]:
    """A file decoded; and, if it is large, its columns kept, and mapped."""
    before, cpu = time.perf_counter(), children_cpu_s()
    uncached = {**target.environ, "LIVEHEAP_COLUMN_CACHE": "0"}
    liveheap("histogram", file, environ=uncached)
    seconds, cpu = time.perf_counter() - before, children_cpu_s() - cpu
    big = nodes >= LOAD_OBJECTS
    yield Row(
        f"the whole command `liveheap histogram FILE`, {nodes / 1e6:.2f} M objects",
        f"{seconds:.2f} s",
        f"<= {LOAD_LIMIT_S:g} s at 10 M",
        f"{cpu:.2f} s of CPU, {file.stat().st_size / 1e6:.0f} MB",
        met=seconds <= LOAD_LIMIT_S if big or seconds > LOAD_LIMIT_S else None,
    )
    before = time.perf_counter()
    liveheap("histogram", file, environ=target.environ)
    keeping_s = time.perf_counter() - before - seconds
    kept = file.with_name(f".{file.name}-columns")
    if not kept.exists():
        return
    before = time.perf_counter()
    liveheap("histogram", file, environ=target.environ)
    yield Row(
        "the same again, its columns kept beside it",
        f"{time.perf_counter() - before:.2f} s",
        beside=f"{keeping_s:.2f} s to keep {kept.stat().st_size / 1e6:.0f} MB",
    )
    kept.unlink()


def children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def rival_row(rival: str, file: Path, ours: dict[str, Any]) -> Row:
    try:
        theirs = run(rival, file)
    except Failed as failure:
        return Row(f"the same with {rival}", "", beside=str(failure))
    seconds = theirs["build_s"] + theirs["find_s"]
    ratio = seconds / ours["find_s"]
    agrees = "the same tree" if theirs["told"] == ours["told"] else "ANOTHER TREE"
    return Row(
        f"the same beside {rival}, its own graph built and searched",
        f"{ours['find_s']:.2f} s",
        f">= {FASTER}x faster",
        f"{theirs['build_s']:.2f} + {theirs['find_s']:.2f} s, "
        f"{theirs['peak'] / ours['nodes']:.0f} B/node, {agrees}",
        f"{ratio:.1f}x ({theirs['find_s'] / ours['find_s']:.1f}x the search alone)",
        met=ratio >= FASTER and theirs["told"] == ours["told"],
    )


def lru_rows() -> Iterator[Row]:
    """A list that shares with a dict: twice as long should take twice as long."""
    for first in ("dict", "list"):
        short = run("lru", LRU_LINKS, first)
        long = run("lru", 4 * LRU_LINKS, first)
        yield Row(
            f"an LRU cache of {short['nodes'] / 1e6:.1f} M nodes, the {first} first",
            f"{short['find_s']:.2f} s",
            "< 1 s, linear",
            f"four times as long: {long['find_s']:.2f} s",
            f"{long['find_s'] / max(short['find_s'], 0.01):.1f}x",
            met=short["find_s"] < 1 and long["find_s"] < 4,
        )


def run(way: str, *words: object) -> dict[str, Any]:
    """Run one way in a process of its own."""
    program = Path(__file__).with_name("dominator_run.py")
    done = subprocess.run(
        [sys.executable, str(program), way, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["killed"])[-1]
        raise Failed(f"{way}: {last}")
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=1_000_000)
    objects = parser.parse_args().objects
    with running_target(objects, "aged") as target:
        print(markdown(dominator_rows(target, objects)))


if __name__ == "__main__":
    main()
