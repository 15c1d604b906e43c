"""What one object of a suspect tells: where it waits, what it calls, what bounds it.

A path node stands for thousands of objects that came to be in the same way; what a
person wants to know of them, its example says. Nothing here knows of rounds.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from liveheap_client.analysis.graph import HeapGraph
from liveheap_client.analysis.paths import PathNodes
from liveheap_client.analysis.plan import NO_EDGE
from liveheap_client.analysis.waiting import chain_text, is_stack, stack

EXAMPLES_COMPARED = 30
MOST_EDGES_COMPARED = 32
STEPS_TO_CODE = 4
MOST_STEPS_TO_A_TASK = 40
USUAL_BOUND = 1024
SMALL_CACHE = 4 << 20

_CALLING = frozenset(
    {"function", "method", "functools.partial", "functools._lru_cache_wrapper"}
)
_TO_MAXSIZE = (
    "__dict__",
    "cache_parameters",
    "__closure__",
    "maxsize",
    "cell_contents",
)


def retaining_path(paths: PathNodes, path: int) -> list[str]:
    """Return how the example of a path is held; a task's frame by way of the task."""
    example = int(paths.example[path])
    task = paths.waiting.task_of.get(example)
    if task is not None and paths.parent[path] < 0:
        lines = paths.retaining_path(task)
        frame = paths.graph.frames.get(example)
        return [*lines, f".<coro> -> {frame.text()}"] if frame else lines
    return paths.retaining_path(example)


def begins_at(paths: PathNodes, node: int) -> int | None:
    """Return the frame or asyncio task that a path begins at, if it is not far."""
    for _ in range(MOST_STEPS_TO_A_TASK):
        edge = int(paths.parent_edge[node])
        if edge == NO_EDGE:
            return paths.waiting.task_of.get(node)
        source = paths.graph.source(edge)
        if paths.graph.root_of(source) is not None:
            return node
        node = source
    return None


def waits_in(paths: PathNodes, example: int) -> str | None:
    """Return the chain of frames that an example is suspended in."""
    waiting, graph = paths.waiting, paths.graph
    root = stack_root(paths, example)
    if root is not None:
        known = graph.root_of(root)
        return None if known is None else chain_text(stack(graph, known))
    frames = waiting.chain(example)
    if not frames:
        inner = waiting.coroutine_of(example)
        frames = [] if inner is None else waiting.chain(inner)
    return chain_text(frames) if frames else None


def stack_root(paths: PathNodes, frame: int) -> int | None:
    """Return the thread or greenlet whose stack a frame is the outermost of."""
    edge = int(paths.parent_edge[frame])
    if edge == NO_EDGE:
        return None
    source = paths.graph.source(edge)
    return source if is_stack(paths.graph.root_of(source)) else None


def commonest_code(paths: PathNodes, path: int) -> str | None:
    """Return the function that most objects of a path are, or call."""
    kind = paths.graph.type_name(int(paths.type[path]))
    if kind not in _CALLING:
        return None
    members = np.flatnonzero(paths.node_path == path)
    examples = members[:: max(len(members) // EXAMPLES_COMPARED, 1)]
    found = Counter(filter(None, (_code(paths.graph, int(node)) for node in examples)))
    return found.most_common(1)[0][0] if found else None


def _code(graph: HeapGraph, example: int) -> str | None:
    """Return the function that an object is, or calls; None if it is no such."""
    place = example
    for _ in range(STEPS_TO_CODE):
        if graph.type_name(int(graph.type[place])) not in _CALLING:
            return None
        edges = range(int(graph.row[place]), int(graph.row[place + 1]))
        inner = None
        for edge in edges:
            target = int(graph.target[edge])
            code = graph.code_by_node.get(target)
            if code is not None:
                file = f"{code.short_filename}:{code.first_line}"
                return f"{code.qualname}() at {file}"
            if graph.type_name(int(graph.type[target])) in _CALLING:
                inner = inner or target
        if inner is None:
            return None
        place = inner
    return None


def runner_type(paths: PathNodes, frame: int) -> str:
    """Return the type of what runs a frame: a task, a greenlet, a thread."""
    graph = paths.graph
    task = paths.waiting.task_of.get(frame)
    if task is not None:
        return graph.type_name(int(graph.type[task]))
    root = stack_root(paths, frame)
    if root is not None:
        for edge in range(int(graph.row[root]), int(graph.row[root + 1])):
            if graph.name(int(graph.edge_name[edge])) == "greenlet":
                return graph.type_name(int(graph.type[graph.target[edge]]))
    path = int(paths.node_path[frame])
    return "thread" if "thread" in paths.text(path) else "greenlet"


def maxsize_type(graph: HeapGraph, node: int) -> str:
    """Return the type of the maxsize of an lru_cache, empty if it is not found."""
    place = node
    for name in _TO_MAXSIZE:
        for edge in range(int(graph.row[place]), int(graph.row[place + 1])):
            if graph.name(int(graph.edge_name[edge])) == name:
                place = int(graph.target[edge])
                break
        else:
            return ""
    return graph.type_name(int(graph.type[place]))


def is_small_cache(entries: int, size: int) -> bool:
    """Tell whether a cache with a bound can come to nothing that would matter.

    No snapshot says how high the bound is: as high as bounds usually are, or so high
    that the entries there are do not reach it yet.
    """
    return size / max(entries, 1) * max(entries, USUAL_BOUND) < SMALL_CACHE


def touches(paths: PathNodes, node: int, below: NDArray[np.bool_]) -> bool:
    """Tell whether an object has to do, in two references, with some path nodes."""
    graph, node_path = paths.graph, paths.node_path
    row, edge = graph.reverse
    referrers = edge[int(row[node]) : int(row[node + 1])][:MOST_EDGES_COMPARED]
    if any(below[node_path[graph.source(int(e))]] for e in referrers):
        return True
    near = _targets(graph, node)
    far = [_targets(graph, int(target)) for target in near]
    return any(bool(below[node_path[found]].any()) for found in (near, *far))


def _targets(graph: HeapGraph, node: int) -> NDArray[np.int32]:
    begin, end = int(graph.row[node]), int(graph.row[node + 1])
    return graph.target[begin : min(end, begin + MOST_EDGES_COMPARED)]


def excess_references(graph: HeapGraph, node: int) -> int:
    """Return how many references more an object counts than we know of."""
    known = int(np.count_nonzero(graph.target == node))
    return max(int(graph.refcount[node]) - known, 0)
