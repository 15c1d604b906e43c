"""Where the search for path nodes starts, and in which order.

Roots are not equal: a person can act on a module global of the application, hardly on
a cache of the interpreter. So the search runs in classes, `_Class`, and a later class
claims only what no earlier one reached. What belongs to whom is ownership.py's to say,
the search itself is csrc/pathnodes.h.

Greenlets and threads that run the same function are one group, and so are the
coroutines of suspended asyncio tasks, although objects hold them: what waits in a
thousand of them is then a short path and one row, not a walk through an event loop's
callbacks. Who holds the task itself is not changed by that.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from liveheap.snapshot.format import RootFlag, RootKind
from liveheap_client import _graph
from liveheap_client.analysis.graph import HeapGraph
from liveheap_client.analysis.labels import Group
from liveheap_client.analysis.ownership import Party, parties
from liveheap_client.analysis.records import Frame, Root
from liveheap_client.analysis.waiting import Waiting, is_stack, stack

NO_EDGE = 0xFFFF_FFFF

_LEFTOVERS = (Group.SHARED, Group.TYPES, Group.UNEXPLAINED, Group.UNREACHABLE)


class _Class(IntEnum):
    """Preference among roots: a later class claims only what no earlier one reached."""

    APPLICATION_MODULES = 1
    APPLICATION_FRAMES = 2
    LIBRARY_MODULES = 3
    LIBRARY_FRAMES = 4
    INTERNED = 5
    INTERPRETER = 6
    OWN = 7


class Plan:
    """Groups and entries for the C search."""

    def __init__(self, graph: HeapGraph) -> None:
        self._graph = graph
        self._groups: dict[tuple[int, int], int] = {}
        self._entries: list[NDArray[np.uint32]] = []
        self.waiting = Waiting(graph)
        self._add_modules()
        self._add_tasks()
        for root in graph.roots:
            self._add_root(root)

    def search(self, *, max_depth: int, max_nodes: int) -> _graph.Paths:
        """Run the search."""
        leftovers = [self._group(kind) for kind in _LEFTOVERS]
        entries = np.concatenate(self._entries or [np.zeros((0, 4), np.uint32)])
        order = np.argsort(entries[:, 3], kind="stable")
        groups = np.array([*self._groups] or [(0, 0)], np.uint32)
        return self._graph.raw.search(
            groups.tobytes(),
            entries[order].tobytes(),
            (leftovers[0], leftovers[1], leftovers[2], leftovers[3]),
            max_depth,
            max_nodes,
        )

    def _group(self, kind: Group, name: int = 0) -> int:
        return self._groups.setdefault((int(kind), name), len(self._groups))

    def _add(
        self,
        nodes: NDArray[np.int32],
        edges: NDArray[np.uint32] | int,
        group: int,
        class_: int | list[int],
    ) -> None:
        block = np.empty((len(nodes), 4), np.uint32)
        block[:, 0] = nodes
        block[:, 1] = edges
        block[:, 2] = group
        block[:, 3] = class_
        self._entries.append(block)

    def _add_modules(self) -> None:
        modules = self._graph.modules
        for module, party in zip(modules, parties(modules), strict=True):
            group = self._group(Group.MODULE, module.name_id)
            class_ = _Class.APPLICATION_MODULES
            if party is Party.LIBRARY:
                class_ = _Class.LIBRARY_MODULES
            elif party is Party.OWN:
                group, class_ = self._group(Group.OWN), _Class.OWN
            self._add(np.array([module.node], np.int32), NO_EDGE, group, class_)

    def _add_tasks(self) -> None:
        """Claim the coroutines of tasks for the group of what they run."""
        nodes: dict[tuple[int, int], list[int]] = {}
        for coroutine, frame in self.waiting.iter_tasks():
            group = self._group(Group.TASK, self._function(frame))
            nodes.setdefault((group, self._class_of(frame)), []).append(coroutine)
        for (group, class_), members in nodes.items():
            self._add(np.array(members, np.int32), NO_EDGE, group, class_)

    def _add_root(self, root: Root) -> None:
        graph = self._graph
        first, end = int(graph.row[root.node]), int(graph.row[root.node + 1])
        edges = np.arange(first, end, dtype=np.uint32)
        targets = graph.target[first:end]
        group, class_ = self._place_of(root)
        if is_stack(root) and not root.own:
            frames = self._graph.frames
            classes = [self._class_of(frames.get(int(target))) for target in targets]
            self._add(targets, edges, group, classes)
        else:
            self._add(targets, edges, group, class_)

    def _place_of(self, root: Root) -> tuple[int, int]:
        if root.own:
            return self._group(Group.OWN), _Class.OWN
        if root.flags & RootFlag.MAIN_THREAD:
            return self._group(Group.MAIN_THREAD), _Class.LIBRARY_FRAMES
        if is_stack(root):
            kind = Group.THREAD if root.kind == RootKind.THREAD else Group.GREENLET
            return self._group(kind, self._runs(root)), _Class.LIBRARY_FRAMES
        if root.kind == RootKind.INTERNED:
            return self._group(Group.SHARED), _Class.INTERNED
        if root.kind == RootKind.INTERPRETER:
            return self._group(Group.INTERPRETER), _Class.INTERPRETER
        return self._group(Group.C), _Class.INTERPRETER

    def _runs(self, root: Root) -> int:
        """Return the name of the function that a thread or greenlet runs; 0 if none."""
        frames = stack(self._graph, root)
        return self._function(self.waiting.telling(frames)) if frames else 0

    def _function(self, frame: Frame) -> int:
        return (
            0 if frame.code is None else self._graph.raw.find_name(frame.code.qualname)
        )

    def _class_of(self, frame: Frame | None) -> int:
        """Return the class of what a thread, a greenlet or a task refers to."""
        if frame is None or frame.code is None:
            return _Class.LIBRARY_FRAMES
        if self.waiting.is_application(frame.code.filename):
            return _Class.APPLICATION_FRAMES
        return _Class.LIBRARY_FRAMES
