"""dramatiq: a message is what a worker thread processes.

Wrapped there and not told by a middleware of ours, because brokers are made by the
host, before or after us, and a middleware is seen in each.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from liveheap import tasks
from liveheap.hosts.wrapping import Undo, classes_with, label, undo_all

KIND = "dramatiq"
METHOD = "process_message"


def begin(_thread: Any, message: Any = None, *_: Any) -> tasks.Token | None:
    """Begin a message."""
    name = getattr(message, "actor_name", "?")
    return tasks.begin(KIND, name, getattr(message, "message_id", None))


def hook(worker: ModuleType) -> Undo:
    """Wrap the worker threads' method."""
    return undo_all(
        label(owner, METHOD, begin) for owner in classes_with(worker, METHOD)
    )


HOOKS = {"dramatiq.worker": hook}
