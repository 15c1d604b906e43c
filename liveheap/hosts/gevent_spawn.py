"""gevent's children of tasks: what a task spawns belongs to it, also when it is over.

A greenlet does not inherit what its spawner runs, and the one that leaks is often a
helper that outlives its task. gevent calls back at every spawn, in the spawner; the
child then gets its spawner's label, and its own children theirs. It is no task that
runs, so `status` does not count it: only a snapshot asks, for the paths that begin
there.

Kept like the registry's tokens: by the child's address, each a weak reference to the
child, whose death takes it away. Dead children that somebody still holds stay here
without harm: a snapshot finds no stack of theirs.
"""

from __future__ import annotations

import weakref
from types import ModuleType
from typing import Any

from liveheap import tasks
from liveheap.hosts.wrapping import Undo

MAX_HEIRS = 10_000


class Heir(weakref.ref):  # type: ignore[type-arg]
    """A spawned greenlet, weakly, and the task that it belongs to."""

    __slots__ = ("key", "task")

    key: int
    task: tasks.Task


class Heirs:
    """The children of tasks in one process."""

    def __init__(self) -> None:
        self._by_key: dict[int, Heir] = {}

    def note(self, child: Any) -> None:
        """Receive a spawn, in the spawner. Raises nothing of its own."""
        try:
            task = self._task_here()
            if task is None or len(self._by_key) >= MAX_HEIRS:
                return
            heir = Heir(child, self._forget)
            heir.key = id(child)
            heir.task = tasks.inherited(task, heir.key)
            self._by_key[heir.key] = heir
        except tasks.OUR_ERRORS:
            pass

    def labels(self) -> tuple[tasks.Task, ...]:
        """Return whose task each child belongs to."""
        return tuple(heir.task for heir in list(self._by_key.values()))

    def forget_all(self) -> None:
        """Let go of all: at the end, and in a forked child."""
        self._by_key = {}

    def _task_here(self) -> tasks.Task | None:
        token = tasks.REGISTRY.innermost_here()
        if token is not None:
            return tasks.as_task(token)
        if not self._by_key:
            return None
        heir = self._by_key.get(tasks.REGISTRY.here())
        return None if heir is None else heir.task

    def _forget(self, heir: Heir) -> None:
        if self._by_key.get(heir.key) is heir:
            del self._by_key[heir.key]


HEIRS = Heirs()


def hook(module: ModuleType) -> Undo:
    """Be told of every spawn."""
    greenlet_type = module.Greenlet
    greenlet_type.add_spawn_callback(HEIRS.note)

    def undo() -> None:
        greenlet_type.remove_spawn_callback(HEIRS.note)
        HEIRS.forget_all()

    return undo


HOOKS = {"gevent.greenlet": hook}
