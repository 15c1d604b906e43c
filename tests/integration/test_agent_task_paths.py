"""A snapshot of a worker whose tasks are under way: each path says whose it is."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from spawn import Worker

from liveheap.protocol.auth import Scope
from liveheap_client.analysis.graph import HeapGraph
from liveheap_client.analysis.paths import PathNodes
from liveheap_client.caller import Caller
from liveheap_client.commands.fetch import fetch
from liveheap_client.dial import DialOptions, choose
from liveheap_client.patience import Patience


@pytest.fixture
def first_lines(
    request: pytest.FixtureRequest,
    spawn_worker: Callable[..., Worker],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> list[str]:
    """How the path of each Held begins."""
    worker = spawn_worker(request.param)
    worker.wait_for_socket()
    monkeypatch.setenv("LIVEHEAP_DIR", worker.environ["LIVEHEAP_DIR"])
    options = DialOptions(patience=Patience(say=lambda _text: None))
    file = tmp_path / "labelled.liveheap"
    with Caller.to(choose(str(worker.pid), worker.environ), options) as caller:
        fetch(caller.session(Scope.GRAPH), file)
    graph = HeapGraph.load(file)
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
