"""What waits, and in what: coroutines of tasks, and the stacks of greenlets.

A suspended coroutine keeps its local variables, and the coroutine it awaits lies on its
stack. So a task is a chain of frames, from the function that was started to the call
that has not come back; a greenlet or thread is one as well, and its root says it. The
chain is what a person recognises: `poll() <- get() <- wait()`.

Some frameworks start every task through a function of their own. `telling` therefore is
the outermost frame of the application, and if there is none the second of all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from liveheap.snapshot.format import RootKind, Tag
from liveheap_client.analysis.graph import OWNS, EdgeKind, HeapGraph
from liveheap_client.analysis.ownership import application_files, is_library_file
from liveheap_client.analysis.records import Frame, Root

_TASKS: Final = frozenset({"_asyncio.Task", "asyncio.tasks.Task"})
_COROUTINES: Final = frozenset({"coroutine", "generator", "async_generator"})
_HANDED_ON = (EdgeKind.STACK, EdgeKind.UNNAMED, EdgeKind.INTERNAL)
_LONGEST = 50


class Waiting:
    """The chains of frames of one graph."""

    def __init__(self, graph: HeapGraph) -> None:
        self._graph = graph
        self._files = application_files(graph.modules)
        self._next: dict[int, int] = {}
        self.task_of: dict[int, int] = {}
        self._coroutine_of: dict[int, int] = {}
        coroutines = _of_types(graph, _COROUTINES)
        carriers = np.zeros(graph.n_nodes, np.bool_)
        carriers[coroutines] = True
        carriers |= graph.record == Tag.FRAME
        owns = (graph.edge_kind & OWNS) != 0
        edges = np.flatnonzero(carriers[graph.target] & owns)
        sources = np.searchsorted(graph.row, edges.astype(np.uint32), side="right") - 1
        kinds = graph.edge_kind[edges] & ~np.uint8(OWNS)
        inner = carriers[sources] & np.isin(kinds, _HANDED_ON)
        targets = graph.target[edges]
        self._next = dict(
            zip(sources[inner].tolist(), targets[inner].tolist(), strict=True)
        )
        tasks = np.zeros(graph.n_nodes, np.bool_)
        tasks[_of_types(graph, _TASKS)] = True
        held = tasks[sources]
        for task, coroutine in zip(
            sources[held].tolist(), targets[held].tolist(), strict=True
        ):
            self.task_of.setdefault(coroutine, task)
            self._coroutine_of.setdefault(task, coroutine)

    def coroutine_of(self, task: int) -> int | None:
        """Return the coroutine that a task runs; None if it is no task."""
        return self._coroutine_of.get(task)

    def iter_tasks(self) -> Iterator[tuple[int, Frame]]:
        """Yield the coroutine of each task that is suspended, and its telling frame."""
        for coroutine in self.task_of:
            frames = self.chain(coroutine)
            if frames:
                yield coroutine, self.telling(frames)

    def chain(self, node: int) -> list[Frame]:
        """Return the frames from a coroutine or frame inwards to what it waits for."""
        found: list[Frame] = []
        place: int | None = node
        for _ in range(_LONGEST):
            if place is None:
                break
            frame = self._graph.frames.get(place)
            if frame is not None and frame.code is not None and frame.line > 0:
                found.append(frame)
            place = self._next.get(place)
        return found

    def telling(self, frames: Sequence[Frame]) -> Frame:
        """Return the frame of a chain that says most about what it does."""
        for frame in frames:
            if frame.code is not None and self.is_application(frame.code.filename):
                return frame
        return frames[min(1, len(frames) - 1)]

    def is_application(self, filename: str) -> bool:
        """Tell whether a code object's file is the application's."""
        return filename in self._files or not is_library_file(filename)


def stack(graph: HeapGraph, root: Root) -> list[Frame]:
    """Return the frames of a thread or greenlet, the outermost first."""
    first, end = int(graph.row[root.node]), int(graph.row[root.node + 1])
    frames = [graph.frames.get(int(node)) for node in graph.target[first:end]]
    return [frame for frame in reversed(frames) if frame is not None and frame.code]


def chain_text(frames: Sequence[Frame], *, most: int = 4) -> str:
    """Return a chain as a person reads it, what it waits in first.

    Of a long one the ends stay, and where one package calls into the next: the loop's
    own frames are many and say little.
    """
    chain = list(reversed(frames))
    names: list[str] = []
    before = -1
    for place in _worth_showing(chain, most):
        names += ["..."] if place > before + 1 else []
        names.append(chain[place].text())
        before = place
    return " <- ".join(names)


def _worth_showing(chain: Sequence[Frame], most: int) -> list[int]:
    """Return the places of the frames to show, in their order."""
    packages = [
        frame.code.short_filename.partition("/")[0] if frame.code else ""
        for frame in chain
    ]
    entries: dict[str, int] = {}
    for place, package in enumerate(packages):
        entries.setdefault(package, place)
    places = range(len(chain))
    ranked = dict.fromkeys([*places[:1], *places[-1:], *entries.values(), *places])
    return sorted(list(ranked)[:most])


def is_stack(root: Root | None) -> bool:
    """Tell whether a root is a thread or greenlet."""
    return root is not None and root.kind in (RootKind.THREAD, RootKind.GREENLET)


def _of_types(graph: HeapGraph, names: frozenset[str]) -> NDArray[np.intp]:
    wanted = [number for number, kind in enumerate(graph.types) if kind.name in names]
    return (
        np.flatnonzero(np.isin(graph.type, wanted)) if wanted else np.zeros(0, np.intp)
    )
