"""huey: a task is what `Huey._execute` executes, in every kind of worker.

Its signals would do as well, but are connected to one instance, which the host makes.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from liveheap import tasks
from liveheap.hosts.wrapping import Undo, label

KIND = "huey"


def begin(_huey: Any, task: Any = None, *_: Any) -> tasks.Token | None:
    """Begin a task."""
    return tasks.begin(KIND, getattr(task, "name", "?"), getattr(task, "id", None))


def hook(api: ModuleType) -> Undo:
    """Wrap the method."""
    return label(api.Huey, "_execute", begin)


HOOKS = {"huey.api": hook}
