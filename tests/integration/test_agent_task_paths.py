"""A snapshot of a worker whose tasks are under way: each path says whose it is."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from spawn import Worker

from liveheap_client.analysis import growth
from liveheap_client.analysis.graph import HeapGraph
from liveheap_client.analysis.paths import PathNodes
from liveheap_client.caller import Caller
from liveheap_client.commands.fetch import fetch
from liveheap_client.dial import DialOptions, choose
from liveheap_client.patience import Patience


@pytest.fixture
def take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Worker], HeapGraph]:
    """Take a snapshot of a worker and load it."""

    def snapshot(worker: Worker) -> HeapGraph:
        file = tmp_path / f"{len(list(tmp_path.iterdir()))}.liveheap"
        worker.wait_for_socket()
        monkeypatch.setenv("LIVEHEAP_DIR", worker.environ["LIVEHEAP_DIR"])
        options = DialOptions(patience=Patience(say=lambda _text: None))
        with Caller.to(choose(str(worker.pid), worker.environ), options) as caller:
            fetch(caller, file)
        return HeapGraph.load(file)

    return snapshot


@pytest.fixture
def first_lines(
    request: pytest.FixtureRequest,
    spawn_worker: Callable[..., Worker],
    take: Callable[[Worker], HeapGraph],
) -> list[str]:
    """How the path of each Held begins."""
    graph = take(spawn_worker(request.param))
    paths = PathNodes.of(graph)
    held = [
        node
        for node in range(graph.n_nodes)
        if graph.type_name(int(graph.type[node])) == "__main__.Held"
    ]
    lines = sorted(paths.retaining_path(node)[0] for node in held)
    return [re.sub(r" \d+ ->|:\d+$", "", line) for line in lines]


@pytest.mark.parametrize("first_lines", ["labelled"], indirect=True)
def test_a_path_from_a_tasks_own_frames_names_the_task(first_lines: list[str]) -> None:
    assert first_lines == [
        "main thread main() at labelled.py",
        "task shop.on_greenlet -> greenlet on_greenlet() at labelled.py",
        "task shop.on_main [m-1] -> main thread on_main() at labelled.py",
        "task shop.on_task -> asyncio task -> on_task() at labelled.py",
        "task shop.on_thread [t-1] -> thread on_thread() at labelled.py",
    ]


@pytest.mark.parametrize("first_lines", ["asyncio_running"], indirect=True)
def test_the_asyncio_task_that_runs_is_told_from_those_that_wait(
    first_lines: list[str],
) -> None:
    # Before 3.11 the frame of a coroutine that runs is an object of its own.
    on = "main thread" if sys.version_info < (3, 11) else "asyncio task ->"

    assert first_lines == [
        "asyncio task -> main() at asyncio_running.py",
        *sorted(
            (
                f"task shop.runs [r-1] -> {on} run() at asyncio_running.py",
                "task shop.runs [r-1] -> main thread inner() at asyncio_running.py",
            )
        ),
        "task shop.waits -> asyncio task -> wait() at asyncio_running.py",
    ]


@pytest.mark.parametrize("first_lines", ["gevent_spawned"], indirect=True)
def test_what_a_task_has_spawned_is_its_own_when_it_is_over(
    first_lines: list[str],
) -> None:
    assert first_lines == [
        "greenlet wait() at gevent_spawned.py",
        "spawned by task shop.crawl [7] -> greenlet wait() at gevent_spawned.py",
        "spawned by task shop.crawl [7] -> greenlet wait() at gevent_spawned.py",
        "task shop.own -> greenlet wait() at gevent_spawned.py",
    ]


def test_the_task_that_leaves_it_is_named_where_one_runs_at_a_time(
    spawn_worker: Callable[..., Worker], take: Callable[[Worker], HeapGraph]
) -> None:
    worker = spawn_worker("one_by_one")
    rounds = []
    for _ in range(4):
        worker.say("step")
        rounds.append(take(worker))

    suspect = growth.diff(rounds).to_json()["suspects"][0]

    assert suspect["holder"] == "__main__.LEDGER.rows"
    assert suspect["task"] == "shop.import_orders"
    assert "% of what tasks left" in suspect["task_why"]
