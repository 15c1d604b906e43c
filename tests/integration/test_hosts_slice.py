"""A slice of `make test-hosts`, small enough for each run: see tests/hosts/.

Celery and RQ with a real redis-server; whole rows, and the other hosts, are there.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from hosts import broker, checks
from hosts.catalogue import EACH, PREFORKED, Host, celery, named
from hosts.checks import FIRST_GATE
from hosts.running import APPS, BIN, Running, start
from spawn import Stage

PREFORK = celery(
    "prefork",
    *("-P", "prefork", "-c", "3", "--max-tasks-per-child", "1"),
    tasks=3,
    renewals=(EACH,),
    roles=PREFORKED,
)
(RQ,) = named("rq-worker")


@pytest.fixture
def run(stage: Stage) -> Iterator[Callable[[Host], Running]]:
    """Start a host with its broker through `liveheap run`, and give it its tasks."""
    with ExitStack() as stack:

        def start_one(host: Host) -> Running:
            missing = [
                each for each in host.needs if not importlib.util.find_spec(each)
            ]
            if missing or not broker.is_here():
                pytest.skip(f"{', '.join(missing) or 'redis-server'} is not installed")
            home = Path(stage.directory)
            redis = stack.enter_context(broker.running_redis(home))
            running = start(host, "run", home, redis)
            stack.callback(running.kill)
            running.feed(host.tasks, FIRST_GATE)
            running.wait_for_tasks(host.tasks)
            return running

        yield start_one


def test_celery_has_an_agent_and_the_right_labels_in_each_child_and_each_next_one(
    run: Callable[[Host], Running],
) -> None:
    running = run(PREFORK)
    checks.has_agents(running)
    checks.labels_are_right(running)
    checks.is_renewed(running)
    checks.ends_cleanly(running)
    checks.leaves_no_socket(running)


def test_a_helper_command_runs_without_an_agent(stage: Stage) -> None:
    pytest.importorskip("celery")
    run_directory = stage.directory / "run"
    run_directory.mkdir(mode=0o700)
    environ = {
        **os.environ,
        "LIVEHEAP": "1",
        "LIVEHEAP_DIR": str(run_directory),
        "MATRIX_STAGE": str(stage.directory),
        "MATRIX_CELERY": "memory://",
    }
    command = [str(BIN / "celery"), "-A", "shop", "--workdir", str(APPS), "report"]
    subprocess.run(command, env=environ, check=True, capture_output=True, timeout=60)
    # An agent makes a token before its socket, and the token stays.
    assert list(run_directory.iterdir()) == []


def test_twenty_rq_jobs_leave_no_socket(run: Callable[[Host], Running]) -> None:
    # A job whose process is slower than the delay has a name, and leaves it behind.
    delay = ("LIVEHEAP_FORK_DELAY", "3")
    running = run(replace(RQ, burst=20, env=(*RQ.env, delay)))
    checks.has_agents(running)
    checks.labels_are_right(running)
    checks.survives_a_burst(running)
    checks.ends_cleanly(running)
