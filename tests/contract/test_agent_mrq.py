"""MRQ's jobs, from the recorded interface of its last release, 0.9.10.

Recorded: `mrq.context._GLOBAL_CONTEXT["greenlets"]` maps the id of a greenlet to its
Job, which has `id` (an ObjectId), `data` (None, or a dict with `path` and `params`) and
`datestarted` (in UTC, without saying so); `mrq.worker.Worker.perform_job(job)` puts it
there and takes it out. The matrix of hosts runs the real one, where it can be had.
"""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from liveheap import tasks
from liveheap.agent import native
from liveheap.hosts import mrq
from liveheap.hosts.labelling import Labelling

greenlet = pytest.importorskip("greenlet")
CONTEXT = """
_GLOBAL_CONTEXT = {"greenlets": {}, "worker": None, "config": {}}
"""
WORKER = """
from mrq.context import _GLOBAL_CONTEXT
from greenlet import getcurrent
class Worker:
    def perform_job(self, job):
        _GLOBAL_CONTEXT["greenlets"][id(getcurrent())] = job
        try:
            job.perform()
        except Exception:
            job.status = "failed"
        finally:
            del _GLOBAL_CONTEXT["greenlets"][id(getcurrent())]
"""


@pytest.fixture
def worker(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    (tmp_path / "mrq").mkdir()
    for name, text in (("__init__", ""), ("context", CONTEXT), ("worker", WORKER)):
        (tmp_path / "mrq" / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    known = native.find()
    tasks.REGISTRY.switch_on(
        known.ident, native.original("_thread", "_local"), known.main_ident
    )
    labelling = Labelling(mrq.HOOKS)
    labelling.install()
    import mrq.worker as module

    yield module
    labelling.remove()
    assert tasks.running() == ()
    tasks.REGISTRY.switch_off()
    for name in [name for name in sys.modules if name.partition(".")[0] == "mrq"]:
        del sys.modules[name]


def job(**facts: Any) -> SimpleNamespace:
    data = {"path": "jobs.Import", "params": {"secret": "hunter2"}}
    minute_ago = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(
        minutes=1
    )
    usual = {"id": "6b02", "data": data, "datestarted": minute_ago.replace(tzinfo=None)}
    return SimpleNamespace(**{**usual, **facts})


def test_a_job_has_its_name_while_it_is_performed(worker):
    seen = []

    def fail() -> None:
        seen.extend(tasks.running())
        raise ValueError("no orders")

    one = job(perform=fail)
    greenlet.greenlet(worker.Worker().perform_job).switch(one)
    (task,) = seen
    assert (task.kind, task.name, task.id) == ("mrq", "jobs.Import", "6b02")
    assert one.status == "failed"
    assert tasks.done() == {"jobs.Import": 1}
    assert "hunter2" not in repr(seen)


def test_jobs_from_before_we_came_are_read_from_mrqs_own_dict(worker):
    greenlets = worker._GLOBAL_CONTEXT["greenlets"]
    greenlets[4711] = job()
    greenlets[4712] = job(id=None, datestarted=None)
    greenlets[4713] = job(data=None)  # not fetched yet
    greenlets[4714] = job(data={})
    one, two = tasks.running()
    assert (one.name, one.id, one.holder, one.address) == (
        *("jobs.Import", "6b02", "greenlet"),
        4711,
    )
    assert one.thread == tasks.REGISTRY.main_ident
    assert time.monotonic() - one.started == pytest.approx(60, abs=30)
    assert (two.id, two.address) == (None, 4712)
    assert two.started == pytest.approx(time.monotonic(), abs=30)
    greenlets.clear()
