"""RQ: a job is what `perform_job` performs, in the work horse or in the worker itself.

That method lets nothing through that the job raises. The job's name is in its payload,
which the worker unpacks next anyway; where that fails it fails there as well.
"""

from __future__ import annotations

from contextlib import suppress
from types import ModuleType
from typing import Any

from liveheap import tasks
from liveheap.hosts.wrapping import Undo, classes_with, label, undo_all

KIND = "rq"
METHOD = "perform_job"


def begin(_worker: Any, job: Any = None, *_: Any) -> tasks.Token | None:
    """Begin a job."""
    if not tasks.REGISTRY.is_on:
        return None
    name = None
    with suppress(Exception):
        name = job.func_name
    return tasks.begin(KIND, name or "?", getattr(job, "id", None))


def hook(worker: ModuleType) -> Undo:
    """Wrap the method, wherever this version of RQ defines it."""
    return undo_all(
        label(owner, METHOD, begin) for owner in classes_with(worker, METHOD)
    )


HOOKS = {"rq.worker": hook, "rq.worker.base": hook}
