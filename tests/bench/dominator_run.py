"""One way to find dominators, alone in a process: how long, and how much memory.

    python tests/bench/dominator_run.py ours FILE       also writes FILE.edges.npz
    python tests/bench/dominator_run.py igraph FILE     of those edges
    python tests/bench/dominator_run.py rustworkx FILE
    python tests/bench/dominator_run.py lru LINKS list  a list which shares with a dict

All work on the same graph: the owning edges of a snapshot, and a node that stands for
where reachability starts. A rival gets its own graph built first, and both its times
are told, for nobody has one without the other. What each found is a sum which tells
whether all agree. Seconds are CPU of the thread: others may use the machine as well.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "unit"))

PAGE = os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def peak() -> int:
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def measured(work: Callable[[], Any]) -> tuple[Any, float, float, int]:
    """Return the result, CPU and clock seconds, and the bytes it needed at its peak."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    before = resident()
    clock, cpu = time.perf_counter(), time.process_time()
    result = work()
    seconds = (time.process_time() - cpu, time.perf_counter() - clock)
    return result, *seconds, max(peak() - before, 0)


def told(idom: "np.ndarray[Any, Any]") -> int:
    """Return a number that differs if any node's dominator does."""
    places = np.arange(1, len(idom) + 1, dtype=np.uint64)
    return int((idom.astype(np.uint64) * places).sum())


def ours(file: str) -> dict[str, Any]:
    from liveheap_client.analysis.dominators_reference import entries
    from liveheap_client.analysis.graph import OWNS, HeapGraph, NodeFlag

    graph, load_s, load_clock_s, load_peak = measured(lambda: HeapGraph.load(file))
    tree, cpu_s, clock_s, needed = measured(lambda: graph.dominators)
    owned = np.flatnonzero(graph.edge_kind & OWNS)
    row = graph.row.astype(np.int64)
    source = np.repeat(np.arange(graph.n_nodes, dtype=np.int32), row[1:] - row[:-1])
    np.savez(
        f"{file}.edges.npz",
        source=source[owned],
        target=graph.target[owned],
        entries=np.array(entries(graph), np.int32),
        part=graph.flags & NodeFlag.FOLDED != 0,
    )
    return {
        "nodes": graph.n_nodes,
        "edges": len(owned),
        "load_s": load_s,
        "load_clock_s": load_clock_s,
        "load_peak": load_peak,
        "build_s": 0.0,
        "find_s": cpu_s,
        "clock_s": clock_s,
        "peak": needed,
        "told": told(tree.idom),
    }


def edges_of(file: str) -> tuple["np.ndarray[Any, Any]", int, "np.ndarray[Any, Any]"]:
    """Return pairs of nodes, the super-root after the last node, and parts."""
    kept = np.load(f"{file}.edges.npz")
    n = len(kept["part"])
    starts = np.full(len(kept["entries"]), n, np.int32)
    source = np.concatenate([kept["source"], starts])
    target = np.concatenate([kept["target"], kept["entries"]])
    return np.column_stack([source, target]), n, kept["part"]


def without_parts(idom: "np.ndarray[Any, Any]", part: "np.ndarray[Any, Any]") -> int:
    """Let what hangs below a part hang below its owner, as ours does."""
    n = len(part)
    idom = np.where(idom == n, -1, idom)
    for _ in range(3):
        below = (idom >= 0) & part[idom] & (idom[idom] >= 0)
        idom = np.where(below, idom[idom], idom)
    return told(idom)


def igraph(file: str) -> dict[str, Any]:
    import igraph

    pairs, n, part = edges_of(file)
    graph, build_s, build_clock_s, build_peak = measured(
        lambda: igraph.Graph(n=n + 1, edges=pairs, directed=True)
    )
    found, find_s, clock_s, peak = measured(lambda: graph.dominator(n, mode="out"))
    return {
        "build_s": build_s,
        "find_s": find_s,
        "clock_s": build_clock_s + clock_s,
        "peak": build_peak + peak,
        "told": without_parts(np.array(found[:n], np.int64), part),
    }


def rustworkx(file: str) -> dict[str, Any]:
    import rustworkx

    pairs, n, part = edges_of(file)

    def build() -> Any:
        graph = rustworkx.PyDiGraph(multigraph=False)
        graph.extend_from_edge_list(list(map(tuple, pairs.tolist())))
        return graph

    graph, build_s, build_clock_s, build_peak = measured(build)
    found, find_s, clock_s, peak = measured(
        lambda: rustworkx.immediate_dominators(graph, n)
    )
    idom = np.array([found[node] for node in range(n)], np.int64)
    return {
        "build_s": build_s,
        "find_s": find_s,
        "clock_s": build_clock_s + clock_s,
        "peak": build_peak + peak,
        "told": without_parts(idom, part),
    }


def lru(links: str, first: str) -> dict[str, Any]:
    from stream_arrays import list_stream, rows

    from liveheap_client.analysis.graph import HeapGraph

    n = int(links)
    link = np.arange(2, 2 + n)
    starts = [1, 2] if first == "dict" else [2, 1]
    source = np.concatenate([[0, 0], np.full(n, 1), link[:-1], link])
    target = np.concatenate([starts, link + n, link[1:], link + n])
    row, targets = rows(2 + 2 * n, source, target)
    graph = HeapGraph.decode([list_stream(row, targets, np.full(len(row) - 1, 64))])
    _, cpu_s, clock_s, _ = measured(lambda: graph.dominators)
    return {"nodes": graph.n_nodes, "find_s": cpu_s, "clock_s": clock_s}


if __name__ == "__main__":
    ways = {"ours": ours, "igraph": igraph, "rustworkx": rustworkx, "lru": lru}
    print(json.dumps(ways[sys.argv[1]](*sys.argv[2:])))
