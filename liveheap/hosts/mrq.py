"""MRQ: a dict of its own says which greenlet runs which job; it only has to be read.

It is read on the agent's thread, where nothing of the host's may die: so each look goes
through it in one call into C, and takes nothing but the name, the id and the date.
MRQ runs on Pythons that are older than the oldest with an agent; tests/unit/test_mrq.py
reads from the recorded interface of 0.9.10.
"""

from __future__ import annotations

import datetime
import time
from operator import attrgetter, itemgetter
from types import ModuleType
from typing import Any

from liveheap import tasks
from liveheap.hosts.wrapping import Undo

KIND = "mrq"
CONTEXT, GREENLETS = "_GLOBAL_CONTEXT", "greenlets"
DATA, PATH = attrgetter("data"), itemgetter("path")
FACTS = attrgetter("id", "datestarted")


def hook(context: ModuleType) -> Undo:
    """Have the dict read whenever somebody asks what runs."""
    return tasks.add_source(lambda: running(getattr(context, CONTEXT)[GREENLETS]))


def running(jobs: dict[int, Any]) -> tuple[tasks.Task, ...]:
    """Return the jobs that run."""
    found = []
    for address in list(jobs):
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


HOOKS = {"mrq.context": hook}
