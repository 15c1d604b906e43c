"""A patched gevent worker with the agent in it: one hub, free greenlets, all found."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import liveheap
from spawn import Worker


@pytest.fixture
def worker(spawn_worker: Callable[..., Worker]) -> Worker:
    worker = spawn_worker("gevent_leak")
    worker.wait_for_socket()
    return worker


def test_hunt_names_the_leak_and_the_greenlets_stay_innocent(worker: Worker) -> None:
    words = ("diff", worker.pid, "--interval", 1, "--rounds", 4, "--json")
    report = json.loads(liveheap(*words, env=worker.environ).stdout)

    first = report["suspects"][0]
    assert "LEDGER.entries" in first["path"]
    assert not [s for s in report["suspects"] if "Letter" in s["path"] + s["type"]]
    assert len(report["rounds"]) == len(report["rss"]) == 4


def test_twenty_letters_are_found_in_the_locals_of_twenty_greenlets(
    worker: Worker, tmp_path: Path
) -> None:
    file = tmp_path / "worker.liveheap"
    liveheap("snapshot", worker.pid, "-o", file, env=worker.environ)

    tree = liveheap("backrefs", "Letter", file, env=worker.environ).stdout

    assert "Letter  x20" in tree
    assert "write_letter" in tree
    assert "letter" in tree
