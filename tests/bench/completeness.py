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
from typing import Any

from driver import Failed, liveheap
from table import Row

from liveheap_client.analysis.graph import HeapGraph

PLANTED = Path(__file__).with_name("planted.py")


def rows(_plan: object) -> Iterator[Row]:
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


def markers_row(places: dict[str, int], graph: Any) -> Row:
    found = {place for place, address in places.items() if reached(graph, address)}
    missing = sorted(set(places) - found)
    return Row(
        f"completeness: planted markers, {len(places)} places",
        f"{len(found)} found",
        "all",
        f"missing: {', '.join(missing) or 'none'}",
        met=not missing,
    )


def explained_row(graph: Any) -> Row:
    least = 98.5 if sys.version_info >= (3, 12) else 97.5
    counted, exact = explained(graph)
    percent = 100 * exact / counted
    return Row(
        f"completeness: reference count explained, {counted:,} objects",
        f"{percent:.2f} %",
        f">= {least} %",
        met=percent >= least,
    )
