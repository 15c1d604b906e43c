"""Celery: `task_prerun` and `task_postrun`, sent where the task runs, in every pool.

`task_postrun` comes after an exception too, and for each task that an `apply()` runs
inside of another. It does not come to a child that is killed: the registry dies there.

The signals' receivers are behind a plain lock. Whoever asks us to connect may have
interrupted the main thread inside of it (an agent that comes by injection): then we
would wait for ourselves. So a lock that is taken means no labels, and no wait.

To dispatch a signal costs more than all that a label does: two of them were one percent
of a gevent worker's time. So the tracer's names for `send` lead to us, and where nobody
else listens we are called without the dispatch.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from liveheap import tasks
from liveheap.hosts.wrapping import Undo, replace, undo_all

KIND = "celery"
UID = "liveheap"


def begin(sender: Any = None, task_id: Any = None, **_: Any) -> None:
    """Receive `task_prerun`."""
    tasks.begin(KIND, getattr(sender, "name", "?"), task_id)


def end(sender: Any = None, task_id: Any = None, **_: Any) -> None:
    """Receive `task_postrun`."""
    tasks.end_here(KIND, task_id)


def hook(signals: ModuleType) -> Undo:
    """Connect to the signals."""
    check_free(signals)
    signals.task_prerun.connect(begin, weak=False, dispatch_uid=UID)
    signals.task_postrun.connect(end, weak=False, dispatch_uid=UID)

    def undo() -> None:
        check_free(signals)
        signals.task_prerun.disconnect(dispatch_uid=UID)
        signals.task_postrun.disconnect(dispatch_uid=UID)

    return undo


def check_free(signals: ModuleType) -> None:
    """Raise RuntimeError if somebody is in the middle of connecting."""
    for signal in (signals.task_prerun, signals.task_postrun):
        lock = getattr(signal, "lock", None)
        if lock is not None:
            if not lock.acquire(False):
                raise RuntimeError("the signal is being changed")
            lock.release()


def hook_tracer(trace: ModuleType) -> Undo:
    """Spare the tracer the dispatch to a single receiver, where that is ours."""
    ours = (("send_prerun", begin), ("send_postrun", end))
    return undo_all([replace(trace, name, sparing(receive)) for name, receive in ours])


def sparing(receive: Callable[..., None]) -> Callable[[Any], Callable[..., Any]]:
    """Return what makes a `send` that calls `receive` itself if that is all."""

    def make(send: Any) -> Callable[..., Any]:
        signal = send.__self__

        def wrapper(sender: Any = None, task_id: Any = None, **named: Any) -> Any:
            receivers = tuple(signal.receivers)  # another thread may take ours away
            if len(receivers) == 1 and receivers[0][1] is receive:
                return receive(sender, task_id)
            return send(sender=sender, task_id=task_id, **named)

        return wrapper

    return make


HOOKS = {"celery.signals": hook, "celery.app.trace": hook_tracer}
