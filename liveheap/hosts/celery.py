"""Celery: `task_prerun` and `task_postrun`, sent where the task runs, in every pool.

`task_postrun` comes after an exception too, and for each task that an `apply()` runs
inside of another. It does not come to a child that is killed: the registry dies there.

The signals' receivers are behind a plain lock. Whoever asks us to connect may have
interrupted the main thread inside of it (an agent that comes by injection): then we
would wait for ourselves. So a lock that is taken means no labels, and no wait.

To dispatch a signal costs more than all that a label does: two of them were one percent
of a gevent worker's time. So the tracer's names for `send` lead to us, and where nobody
else listens the registry is told without the dispatch, by C (csrc/undispatched.h).
"""

from __future__ import annotations

from types import MethodType, ModuleType
from typing import Any

from liveheap import tasks
from liveheap.hosts.wrapping import Undo, replace, undo_all

try:
    from liveheap._heap import send_that_begins, send_that_ends
except Exception:  # heap.py says why
    from liveheap.unlabelled import send_that_begins, send_that_ends

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
    makers = {
        "send_prerun": lambda send: send_that_begins(send, begin, tasks.begin, KIND),
        "send_postrun": lambda send: send_that_ends(send, end, tasks.end_here, KIND),
    }
    return undo_all(
        replace(trace, name, make)
        for name, make in makers.items()
        if is_celerys(getattr(trace, name, None))
    )


def is_celerys(send: Any) -> bool:
    """Whether it is Celery's own: whoever stands before or in it wants to be called."""
    if not isinstance(send, MethodType):
        return False
    inner: Any = send.__func__
    return (
        inner.__module__ == type(send.__self__).__module__
        and not hasattr(inner, "__wrapped__")
        and inner is getattr(type(send.__self__), "send", None)
    )


HOOKS = {"celery.signals": hook, "celery.app.trace": hook_tracer}
