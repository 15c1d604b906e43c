"""Is everything in the graph? Planted markers, and reference counts explained.

A marker counts as found if its address is a node that can be reached from a root. A
reference count is explained if the graph holds exactly as many references to an object
as the object counts; immortal objects count none. What is left over is held by C code
that cannot be asked, and is no error of the walk; so the target is a share.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from driver import Failed, liveheap
from numpy.typing import NDArray
from table import Row

from liveheap_client.analysis.graph import OWNS, EdgeKind, HeapGraph

PLANTED = Path(__file__).with_name("planted.py")
FIRST_ADDRESS = 1 << 16
HEAP_TYPE = 1


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="lh-bench-") as name:
        places, graph = snapshot_of_planted(Path(name))
    yield markers_row(places, graph)
    yield explained_row(graph)


def snapshot_of_planted(directory: Path) -> tuple[dict[str, int], HeapGraph]:
    """Let the planted process be snapshotted; return its notes and the graph."""
    run_dir = directory / "run"
    run_dir.mkdir(mode=0o700)
    environ = {**os.environ, "LIVEHEAP_DIR": str(run_dir)}
    process = subprocess.Popen(
        [sys.executable, str(PLANTED)],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise Failed(f"{PLANTED.name} ended with code {process.wait()}")
        file = directory / "planted.liveheap"
        liveheap("snapshot", process.pid, "-o", file, environ=environ)
        return json.loads(line), HeapGraph.load(file)
    finally:
        process.kill()
        process.communicate()


def markers_row(places: dict[str, int], graph: HeapGraph) -> Row:
    found = set(graph.address[reached(graph)].tolist())
    missing = sorted(place for place, at in places.items() if at // 8 not in found)
    return Row(
        f"completeness: planted markers, {len(places)} places",
        f"{len(places) - len(missing)} reached from a root",
        "all",
        f"missing: {', '.join(missing) or 'none'}",
        met=not missing,
    )


def explained_row(graph: HeapGraph) -> Row:
    least = 98.5 if sys.version_info >= (3, 12) else 97.5
    counted = has_a_count(graph)
    rest = graph.refcount.astype(np.int64) - references(graph)
    exact, more = rest[counted] == 0, rest[counted] > 0
    percent = 100 * exact.mean()
    return Row(
        f"completeness: reference count explained, {counted.sum():,} mortal objects",
        f"{percent:.2f} %",
        f">= {least} %",
        f"{more.sum():,} are held by C besides, "
        f"{(~(exact | more)).sum():,} have more references than they count",
        met=bool(percent >= least),
    )


def has_a_count(graph: HeapGraph) -> NDArray[np.bool_]:
    """Mark the objects that count references: no roots, bare frames, immortals."""
    return (graph.address >= FIRST_ADDRESS) & (graph.type != 0) & (graph.refcount != 0)


def references(graph: HeapGraph) -> NDArray[np.int64]:
    """Count the references to each node: stored ones, and the implied one to types."""
    borrowed = (graph.edge_kind & ~np.uint8(OWNS)) == EdgeKind.BORROWED
    targets = graph.target[~borrowed & (graph.target >= 0)]
    counts = np.bincount(targets, minlength=graph.n_nodes)
    for type_id, n_instances in enumerate(np.bincount(graph.type)):
        info = graph.types[type_id]
        if info.flags & HEAP_TYPE and info.node >= 0:
            counts[info.node] += n_instances
    return counts


def reached(graph: HeapGraph) -> NDArray[np.bool_]:
    """Mark what can be reached from the roots, over stored references alone."""
    seen = np.zeros(graph.n_nodes, np.bool_)
    front = np.array([root.node for root in graph.roots], np.int64)
    while len(front):
        seen[front] = True
        starts = graph.row[front].astype(np.int64)
        lengths = graph.row[front + 1].astype(np.int64) - starts
        skipped = np.repeat(np.cumsum(lengths) - lengths, lengths)
        edges = np.repeat(starts, lengths) + np.arange(lengths.sum()) - skipped
        targets = np.unique(graph.target[edges])
        targets = targets[targets >= 0]
        front = targets[~seen[targets]].astype(np.int64)
    return seen
