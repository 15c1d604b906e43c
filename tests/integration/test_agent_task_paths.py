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
    spawn_worker: Callable[..., Worker],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> list[str]:
    """How the path of each Held begins."""
    worker = spawn_worker("labelled")
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
    return sorted(paths.retaining_path(node)[0] for node in held)


def test_a_path_from_a_tasks_own_frames_names_the_task(first_lines: list[str]) -> None:
    without_numbers = [re.sub(r" \d+ ->|:\d+$", "", line) for line in first_lines]

    assert without_numbers == [
        "main thread main() at labelled.py",
        "task shop.on_greenlet -> greenlet on_greenlet() at labelled.py",
        "task shop.on_main [m-1] -> main thread on_main() at labelled.py",
        "task shop.on_task -> asyncio task -> on_task() at labelled.py",
        "task shop.on_thread [t-1] -> thread on_thread() at labelled.py",
    ]
