"""The tasks of real frameworks by name: eight at a time, and none when all are over."""

from __future__ import annotations

import pytest
from agent_host import Host
from hosts.broker import running_redis
from spawn import END_DEADLINE_S, Stage, eventually

HOLDERS = {
    "celery-gevent": ("celery", "shop.import_order", "greenlet"),
    "dramatiq": ("dramatiq", "import_order", "thread"),
    "huey": ("huey", "import_order", "thread"),
    "uvicorn": ("request", "GET", "asyncio"),
}


def start(stage: Stage, kind: str) -> Host:
    host = Host(stage.spawn("labelled_host", kind))
    host.worker.wait_for_socket()
    return host


def finish(host: Host) -> dict:
    """Have the tasks end; return the status after that."""
    before = host.status()
    assert host.worker.process.stdin is not None
    host.worker.process.stdin.write(b"finish\n")
    host.worker.process.stdin.flush()

    def over() -> dict:
        status = host.status()
        return status if status["done"] == before["done"] + before["running"] else {}

    return eventually(over, what="all tasks are done")


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


def test_each_job_of_rq_has_its_name_in_the_process_that_was_forked_for_it(stage):
    with running_redis(stage.directory) as socket:
        worker = stage.spawn("labelled_jobs", socket)
        host = Host(worker)
        for number, word in enumerate((b"finish\n", b"fail\n")):
            pid = int(worker.said.split()[0])
            with host.connect(pid) as client:
                status = client.request("status").as_dict()
            (task,) = status["tasks"]
            assert (task["kind"], task["name"]) == ("rq", "labelled_jobs.import_order")
            assert (task["id"], task["thread"]) == (f"job-{number}", pid)
            assert host.status().get("running") is None
            assert worker.process.stdin is not None
            worker.process.stdin.write(word)
            worker.process.stdin.flush()
            if not number:
                worker.wait_until_ready()
        assert worker.process.wait(END_DEADLINE_S) == 0
    assert "hunter2" not in str(status)


def test_a_task_that_runs_another_one_in_place_is_around_it(stage):
    host = start(stage, "celery-solo")
    outer, inner = host.status()["tasks"]
    assert (outer["name"], outer["id"]) == ("shop.import_all", "outer")
    assert (inner["name"], inner["id"]) == ("shop.import_order", "inner")
    assert {outer["thread"], inner["thread"]} == {host.pid}
    assert finish(host)["done"] == 2


def test_no_fault_of_ours_is_seen_in_what_the_host_says_or_returns(stage):
    # From 3.12 on a fork beside a thread is warned of: that is told, and not a fault.
    def told(**env: str) -> tuple[int, list[str]]:
        worker = stage.spawn("faulty", env={"PYTHONWARNINGS": "ignore", **env})
        code = worker.process.wait(END_DEADLINE_S)
        return code, worker.stderr.splitlines()

    code, lines = told(LIVEHEAP="0")
    assert code == 3
    assert lines.count("ValueError: 7") == 2 * lines.count("SUCCESS") > 0
    refused = "liveheap: no agent in this process: a fault of liveheap"
    place = lines.index("-- start") + 1
    assert told() == (code, [*lines[:place], refused, *lines[place:]])
