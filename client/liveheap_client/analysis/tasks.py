"""Which task held what: the labels that a worker's agent gave, joined to a graph.

A snapshot's trailer lists what ran at the moment of the clone (`tasks`), each with the
greenlet, asyncio task or thread that it ran on. Those are objects and roots of the
graph; so a path that begins at one of them can say for whom it is held:

    task shop.import_orders [7f3c] -> greenlet 12 -> sync() at orders.py:41

What a finished task left behind hangs on some global and knows nothing of it. But where
one task runs at a time, the agent counts the memory blocks that each leaves, by name
(`task_figures`, sums since the worker's start). The name that left most of them while
the rounds were taken is the one to look at: evidence, not proof, and told with its
share.

All of it comes from outside; what does not fit is as if it were not there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from liveheap.snapshot.format import RootKind, Tag

if TYPE_CHECKING:
    from liveheap_client.analysis.graph import HeapGraph

MOST_TASKS: Final = 4096
MOST_CALLERS: Final = 32
LONGEST_NAME: Final = 200
MOSTLY: Final = 0.6
ALIKE: Final = 3.0
_COROUTINES: Final = frozenset({"coroutine", "generator"})
_WORDS: Final = {"request": "request", "rq": "job", "mrq": "job"}


@dataclass(frozen=True, slots=True)
class Task:
    """A task that ran when the snapshot was taken; `kind` is what ran it."""

    kind: str
    name: str
    id: str | None
    seconds: float | None
    inherited: bool = False

    def text(self) -> str:
        """Return `task shop.import_orders [7f3c]`."""
        shown = f" [{self.id}]" if self.id else ""
        text = f"{_WORDS.get(self.kind, 'task')} {self.name}{shown}"
        return f"spawned by {text}" if self.inherited else text

    def precedence(self) -> tuple[bool, float]:
        """Return what is higher for a label that others on its greenlet give way to.

        That is its own before an inherited one, and of tasks in tasks the inner one.
        """
        return not self.inherited, -(self.seconds or 0.0)


@dataclass(frozen=True, slots=True)
class Figures:
    """What a task of one name has left, since its worker began.

    `runs` of it have ended; `measured` of those ran alone and had their memory blocks
    counted, `blocks` more after them than before.
    """

    runs: int
    measured: int
    blocks: int


@dataclass(frozen=True, slots=True)
class Tasks:
    """The labels of one graph, by the nodes that they belong to.

    Those are the greenlet's or asyncio task's object, the frames, and the ROOT of a
    greenlet. A thread's outer frames were there before the task and are not its own.
    """

    by_node: dict[int, Task] = field(default_factory=dict)

    @classmethod
    def of(cls, graph: HeapGraph) -> Tasks:
        """Find the graph's nodes of what its trailer lists."""
        given = graph.trailer.get("tasks")
        entries = given[:MOST_TASKS] if isinstance(given, list) else []
        known = [(task, entry) for entry in entries for task in [_task(entry)] if task]
        labels = cls()
        places = _Places(graph) if known else None
        for task, entry in sorted(known, key=lambda pair: pair[0].precedence()):
            if places is not None:
                labels.by_node.update(dict.fromkeys(places.of(entry), task))
        return labels

    def of_node(self, node: int | None) -> Task | None:
        """Return the task that a frame, root, greenlet or asyncio task belongs to."""
        return None if node is None else self.by_node.get(node)

    def commonest(self, nodes: Iterable[int | None]) -> tuple[str, str] | None:
        """Return the name that most nodes' tasks have, and what speaks for it."""
        found = [self.of_node(node) for node in nodes]
        names = Counter(task.name for task in found if task is not None)
        if not names:
            return None
        name, count = names.most_common(1)[0]
        return name, f"{count:,} of {len(found):,} belong to it"


class _Places:
    """Where in a graph greenlets, threads and asyncio tasks are."""

    def __init__(self, graph: HeapGraph) -> None:
        self._graph = graph
        self._threads: dict[int, int] = {}
        self._greenlets: dict[int, int] = {}
        for root in graph.roots:
            if root.kind == RootKind.THREAD:
                self._threads[root.number] = root.node
            elif root.kind == RootKind.GREENLET:
                named = self._refs(root.node, "greenlet")
                self._greenlets.update(dict.fromkeys(named, root.node))
        self._order = np.argsort(graph.address, kind="stable")

    def of(self, entry: Mapping[str, Any]) -> list[int]:
        """Return the nodes of an entry's task; none if it is not in the graph."""
        thread = self._threads.get(_whole(entry.get("thread")))
        address = _whole(entry.get("address"))
        if address <= 0:
            frames = [] if thread is None else self._refs(thread, "frame")
            return frames[: self._place_of_first(frames, entry.get("callers"))]
        node = self._object_at(address)
        if node is None:
            return []
        if entry.get("holder") == "asyncio":
            return [node, *self._running(node, thread)]
        return self._of_greenlet(node, thread, inherited=bool(entry.get("inherited")))

    def _of_greenlet(
        self, node: int, thread: int | None, *, inherited: bool
    ) -> list[int]:
        """Return a greenlet's nodes: one that has no ROOT runs in its thread."""
        root = self._greenlets.get(node)
        if root is not None:
            return [root, node, *self._refs(root, "frame")]
        if inherited:
            return []
        return [node, *([] if thread is None else self._refs(thread, "frame"))]

    def _place_of_first(self, frames: Sequence[int], callers: object) -> int:
        """Return how many frames a task has: it began in the first of its callers."""
        given = callers if isinstance(callers, list) else []
        wanted = {_whole(address) >> 3 for address in given[:MOST_CALLERS]}
        addresses = self._graph.address
        for place, frame in enumerate(frames):
            known = {int(addresses[node]) for node in (frame, *self._objects(frame))}
            if known & wanted:
                return place + 1
        return 0

    def _objects(self, frame: int) -> list[int]:
        return self._refs(frame, "frame_obj")

    def _running(self, task: int, thread: int | None) -> list[int]:
        """Return the frames of an asyncio task, if it is the one that runs there.

        Its coroutine, or from CPython 3.10's the frame, is then on the thread's stack.
        """
        frames = [] if thread is None else self._refs(thread, "frame")
        near = self._targets(task)
        coroutines = [node for node in near if self._is_coroutine(node)]
        wanted = {*coroutines, *(t for node in coroutines for t in self._targets(node))}
        for place, frame in enumerate(frames):
            if frame in wanted:
                return frames[: place + 1]
        return []

    def _targets(self, node: int) -> list[int]:
        row, target = self._graph.row, self._graph.target
        found: list[int] = target[int(row[node]) : int(row[node + 1])].tolist()
        return found

    def _is_coroutine(self, node: int) -> bool:
        return self._graph.type_name(int(self._graph.type[node])) in _COROUTINES

    def _refs(self, root: int, name: str) -> list[int]:
        """Return the nodes that a root names so, in their order."""
        graph = self._graph
        return [
            int(graph.target[edge])
            for edge in range(int(graph.row[root]), int(graph.row[root + 1]))
            if graph.name(int(graph.edge_name[edge])) == name
        ]

    def _object_at(self, address: int) -> int | None:
        addresses = self._graph.address
        wanted = np.uint64(address >> 3)
        place = int(np.searchsorted(addresses, wanted, sorter=self._order))
        if place >= len(self._order):
            return None
        node = int(self._order[place])
        is_it = addresses[node] == wanted and self._graph.record[node] != Tag.ROOT
        return node if is_it else None


def figures_of(graph: HeapGraph) -> dict[str, Figures]:
    """Return what finished tasks left, by name, as the trailer tells."""
    given = graph.trailer.get("task_figures")
    rows = given.items() if isinstance(given, dict) else ()
    found = {}
    for name, row in list(rows)[:MOST_TASKS]:
        if isinstance(name, str) and isinstance(row, dict):
            runs, measured = (max(_whole(row.get(k)), 0) for k in ("runs", "measured"))
            blocks = row.get("blocks")
            whole = blocks if type(blocks) is int else 0
            found[name[:LONGEST_NAME]] = Figures(runs, measured, whole)
    return found


@dataclass(frozen=True, slots=True)
class Leaver:
    """The name of the tasks that left most memory blocks while rounds were taken.

    `share` is its part of all blocks that tasks left, `each` how many a run of it.
    """

    name: str
    each: float
    blocks: float
    share: float

    def explains(self, gained: int) -> bool:
        """Tell whether as many objects, about, may be what it left."""
        return self.blocks / ALIKE <= gained <= self.blocks * ALIKE

    def text(self) -> str:
        """Return what speaks for it."""
        return (
            f"leaves {self.each:,.0f} memory blocks a run, "
            f"{100 * self.share:.0f} % of what tasks left"
        )


def main_leaver(rounds: Sequence[Mapping[str, Figures]]) -> Leaver | None:
    """Return who left most of the blocks from the first round to the last, if one did.

    Only some runs are measured: each stands for those that were not.
    """
    left: dict[str, tuple[float, float]] = dict(_iter_left(rounds))
    total = sum(blocks for _, blocks in left.values())
    if not left or total <= 0:
        return None
    name = max(left, key=lambda key: left[key][1])
    each, blocks = left[name]
    share = blocks / total
    if share < MOSTLY or each < 1:
        return None
    return Leaver(name, each, blocks, share)


def _iter_left(
    rounds: Sequence[Mapping[str, Figures]],
) -> Iterator[tuple[str, tuple[float, float]]]:
    """Yield each name that left blocks: how many a run, and how many in all."""
    first, last = rounds[0], rounds[-1]
    for name, now in last.items():
        before = first.get(name, Figures(0, 0, 0))
        measured, blocks = now.measured - before.measured, now.blocks - before.blocks
        if measured > 0 and blocks > 0:
            each = blocks / measured
            yield name, (each, each * max(now.runs - before.runs, measured))


def _task(entry: object) -> Task | None:
    if not isinstance(entry, dict):
        return None
    kind, name, known = (entry.get(key) for key in ("kind", "name", "id"))
    if not isinstance(kind, str) or not isinstance(name, str) or not name:
        return None
    seconds = entry.get("seconds")
    timed = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    return Task(
        kind[:LONGEST_NAME],
        name[:LONGEST_NAME],
        known[:LONGEST_NAME] if isinstance(known, str) else None,
        seconds if timed else None,
        entry.get("inherited") is True,
    )


def _whole(value: object) -> int:
    return value if type(value) is int and abs(value) < 1 << 63 else 0
