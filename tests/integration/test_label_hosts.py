"""The tasks of real frameworks by name: eight at a time, and none when all are over."""

from __future__ import annotations

import pytest
from agent_host import Host
from spawn import Stage, eventually

HOLDERS = {
    "celery-gevent": ("celery", "shop.import_order", "greenlet"),
    "celery-threads": ("celery", "shop.import_order", "thread"),
    "dramatiq": ("dramatiq", "import_order", "thread"),
    "huey": ("huey", "import_order", "thread"),
    "uvicorn": ("request", "GET /orders/*", "asyncio"),
}


def start(stage: Stage, kind: str) -> Host:
    host = Host(stage.spawn("labelled_host", kind))
    host.worker.wait_for_socket()
    return host


def finish(host: Host) -> dict:
    """Have the tasks end; return the status after that."""
    assert host.worker.process.stdin is not None
    host.worker.process.stdin.write(b"finish\n")
    host.worker.process.stdin.flush()
    eventually(lambda: host.status()["running"] == 0, what="no task runs")
    return host.status()


@pytest.mark.parametrize("kind", HOLDERS)
def test_eight_tasks_at_once_have_their_names_and_are_over_in_the_end(kind, stage):
    family, name, holder = HOLDERS[kind]
    host = start(stage, kind)
    status = host.status()
    found = status["tasks"]
    assert [(task["kind"], task["name"]) for task in found] == [(family, name)] * 8
    assert {task["holder"] for task in found} == {holder}
    assert len({task["address"] or task["thread"] for task in found}) == 8
    if family != "request":
        assert len({task["id"] for task in found}) == 8
    assert "hunter2" not in str(status)
    assert (status["running"], status["done"]) == (8, 0)
    status = finish(host)
    assert (status["running"], status["done"], status["tasks"]) == (0, 8, [])
    assert status["done_by_name"] == [{"name": name, "count": 8}]
    assert host.worker.end() == 0


def test_a_task_that_runs_another_one_in_place_is_around_it(stage):
    host = start(stage, "celery-solo")
    outer, inner = host.status()["tasks"]
    assert (outer["name"], outer["id"]) == ("shop.import_all", "outer")
    assert (inner["name"], inner["id"]) == ("shop.import_order", "inner")
    assert {outer["thread"], inner["thread"]} == {host.pid}
    assert finish(host)["done"] == 2
