"""MRQ: its worker's `perform_job`, and what was running before we came.

A dict of MRQ's own says which greenlet runs which job. Jobs that began before an agent
came late are read from there, whenever somebody asks, on the agent's thread, where
nothing of the host's may die: so each look goes through it in one call into C, and
takes nothing but the name, the id and the date.

`perform_job` lets nothing through that a job raises. The last release of MRQ, 0.9.10,
is older than the oldest Python that an agent runs on, and still runs on 3.10.
"""

from __future__ import annotations

import datetime
import time
from operator import attrgetter, itemgetter
from types import ModuleType
from typing import Any

from liveheap import tasks
from liveheap.hosts.wrapping import Undo, classes_with, label, undo_all

KIND, METHOD = "mrq", "perform_job"
CONTEXT, GREENLETS = "_GLOBAL_CONTEXT", "greenlets"
DATA, PATH = attrgetter("data"), itemgetter("path")
FACTS = attrgetter("id", "datestarted")


def begin(_worker: Any, job: Any = None, *_: Any) -> tasks.Token | None:
    """Begin a job."""
    data = getattr(job, "data", None) or {}
    return tasks.begin(KIND, data.get("path", "?"), getattr(job, "id", None))


def hook_worker(worker: ModuleType) -> Undo:
    """Wrap the method."""
    return undo_all(
        [label(owner, METHOD, begin) for owner in classes_with(worker, METHOD)]
    )


def hook_context(context: ModuleType) -> Undo:
    """Have the dict read whenever somebody asks what runs."""
    return tasks.add_source(lambda: running(getattr(context, CONTEXT)[GREENLETS]))


def running(jobs: dict[int, Any]) -> tuple[tasks.Task, ...]:
    """Return the jobs that run and have no label."""
    found = []
    for address in list(jobs):
        if tasks.REGISTRY.has(address):
            continue
        try:
            path = next(map(PATH, map(DATA, map(jobs.__getitem__, (address,)))))
            job_id, date = next(map(FACTS, map(jobs.__getitem__, (address,))))
        except (KeyError, AttributeError, TypeError):  # it has ended, or not begun
            continue
        found.append(
            tasks.Task(
                kind=KIND,
                name=str(path)[: tasks.LONGEST],
                id=None if job_id is None else str(job_id)[: tasks.LONGEST],
                started=monotonic(date),
                thread=tasks.REGISTRY.main_ident,
                holder=tasks.GREENLET,
                address=address,
                callers=(),
            )
        )
    return tuple(found)


def monotonic(date: datetime.datetime | None) -> float:
    """Turn MRQ's date, in UTC and without saying so, into the clock of tasks."""
    now = time.monotonic()
    if not isinstance(date, datetime.datetime):
        return now
    age = time.time() - date.replace(tzinfo=datetime.timezone.utc).timestamp()
    return now - max(age, 0.0)


HOOKS = {"mrq.context": hook_context, "mrq.worker": hook_worker}
