"""What an agent notes by itself: the worker's figures, and what its tasks leave."""

from __future__ import annotations

from typing import Any

import pytest
from agent_host import Host, RunTime, run_times, start_host
from spawn import Stage, eventually

OFTEN = {"LIVEHEAP_HISTORY": "0.1"}
TASKS = """
import liveheap
kept = [] if "kept" not in globals() else kept
def work(name, size):
    with liveheap.task(name):
        kept.append(b"x" * size)
turns = [("leaks", 1 << 20), ("clean", 0)]
for _ in range(30):
    turns.reverse()  # what comes first after a rest is measured
    for name, size in turns:
        work(name, size)
        time.sleep(0.012)
"""
CHILD = """
pid = os.fork()
if not pid:
    time.sleep(60)
    os._exit(0)
answer = pid
"""


def rows(host: Host, command: str, pid: int | None = None) -> list[dict[str, Any]]:
    """Ask a question that a table answers."""
    with host.connect(pid) as client:
        found: list[dict[str, Any]] = client.request(command).as_dicts()
    return found


@pytest.fixture
def host(stage: Stage) -> Host:
    return start_host(stage, "plain", env=OFTEN)


def test_the_history_tells_growth_that_nobody_watched(host: Host) -> None:
    eventually(lambda: rows(host, "history"), what="the agent has begun to note")
    host.do("big = bytearray(64 << 20)")
    noted = eventually(
        lambda: [row for row in rows(host, "history") if row["rss"] > 64 << 20],
        what="the growth is noted",
    )

    told = rows(host, "history")
    times = [row["time"] for row in told]
    now = host.do("answer = time.time()")

    assert told[0]["rss"] < noted[0]["rss"] - (48 << 20)
    assert times == sorted(times)
    assert now - 30 < times[-1] < now + 5  # told to the tenth of a second
    assert all(row["descriptors"] for row in told)
    assert host.status()["rss"] > 64 << 20


def test_a_note_costs_the_worker_less_than_two_milliseconds(host: Host) -> None:
    eventually(lambda: len(rows(host, "history")) > 3, what="it notes")
    before = agent_time(host)
    eventually(lambda: agent_time(host).times > before.times + 10, what="ten notes")
    after = agent_time(host)

    assert (after.ns - before.ns) / (after.times - before.times) < 2e6


def agent_time(host: Host) -> RunTime:
    """Return what the agent's resting thread has run, when no other one is left."""

    def only_one() -> list[RunTime]:
        found = [*run_times(host.pid, {host.pid}).values()]
        return found if len(found) == 1 else []

    return eventually(only_one, what="only the agent's first thread is left")[0]


def test_a_forked_child_begins_a_history_of_its_own(host: Host) -> None:
    eventually(lambda: rows(host, "history"), what="the parent has begun to note")
    host.do("big = bytearray(64 << 20)")
    child = host.do(CHILD)
    own = eventually(lambda: rows(host, "history", child), what="the child has one")

    assert rows(host, "history")[0]["rss"] < 64 << 20
    assert all(row["rss"] > 64 << 20 for row in own)
    host.do(f"os.kill({child}, 9); os.waitpid({child}, 0)")


def test_without_history_nothing_is_kept_or_measured(stage: Stage) -> None:
    host = start_host(stage, "plain", env={"LIVEHEAP_HISTORY": "0"})
    host.do(TASKS)

    told = rows(host, "tasks")

    assert rows(host, "history") == []
    assert {row["task"]: row["done"] for row in told} == {"leaks": 30, "clean": 30}
    assert {row["measured"] for row in told} == {0}


def test_tasks_that_leak_are_told_from_those_that_do_not(host: Host) -> None:
    def after_more() -> dict[str, dict[str, Any]]:
        host.do(TASKS)
        told = {row["task"]: row for row in rows(host, "tasks")}
        assert told["leaks"]["done"] == told["clean"]["done"]
        return told if all(row["measured"] >= 4 for row in told.values()) else {}

    told = eventually(after_more, what="enough tasks are measured")

    assert told["leaks"]["rss_mean"] > 900 << 10
    assert abs(told["clean"]["rss_mean"] or 0) < 100 << 10
    assert told["leaks"]["overlapped"] == 0


def test_what_runs_is_told_by_name_with_the_age_of_the_oldest(host: Host) -> None:
    host.do("import liveheap; held = liveheap.task('import orders'); held.__enter__()")

    (told,) = rows(host, "tasks")

    assert (told["task"], told["running"], told["done"]) == ("import orders", 1, 0)
    assert told["longest"] >= 0
    host.do("held.__exit__(None, None, None)")
    assert rows(host, "tasks")[0]["longest"] is None
