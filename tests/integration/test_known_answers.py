"""Leaks with known answers and innocents that look like leaks: verdict, path and rate.

Each round is a step that the worker makes on command, so what it gains is known exactly
and no clock has a part in it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from spawn import Worker

from liveheap_client.analysis import growth
from liveheap_client.analysis.graph import HeapGraph
from liveheap_client.caller import Caller
from liveheap_client.commands.fetch import fetch
from liveheap_client.dial import DialOptions, choose
from liveheap_client.patience import Patience

ROUNDS = 5
STEP = 50

LEAKS = {
    "cache_by_key": ("leak", "ByKey", "__main__.APP.results"),
    "closure": ("leak", "InCell", '__main__.APP.count closure "history"'),
    "traceback": ("leak", "ValueError", "__main__.APP.failures"),
    "greenlet_local": ("leak", "greenlet.greenlet", None),
    "growing_list": ("leak", "InList", "__main__.APP.rows"),
    "held_by_c": ("reference-leak", "HeldByC", None),
    "two_holders": ("leak", "Shared", "__main__.APP.by_"),
    "lengths": ("leak", "list", "__main__.APP.seen"),
    "appended_bytes": ("leak", "bytearray", "__main__.APP.log"),
}
TWINS = ("bounded_lru", "fill_once", "fills_slower", "churn", "fragmentation")


class Rounds:
    """Snapshots of one worker, taken without a process for each."""

    def __init__(self, worker: Worker, directory: Path, caller: Caller) -> None:
        self.worker = worker
        self.directory = directory
        self.caller = caller

    def of(self, name: str, rounds: int = ROUNDS) -> dict[str, Any]:
        """Return what `leaks` says of the rounds of one kind."""
        files = [self.directory / f"{name}-{n}.liveheap" for n in range(rounds)]
        self.worker.say(f"start {name}")
        for file in files:
            self.worker.say("step")
            fetch(self.caller, file)
        self.worker.say("stop")
        return growth.diff(map(a_minute_apart, files, range(rounds))).to_json()


def a_minute_apart(file: Path, number: int) -> HeapGraph:
    """Load a round as if it had been taken when its number says."""
    graph = HeapGraph.load(file)
    graph.header["created"] = 60.0 * number
    return graph


@pytest.fixture
def rounds(
    spawn_worker: Callable[..., Worker],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    worker = spawn_worker("known_answers")
    worker.wait_for_socket()
    monkeypatch.setenv("LIVEHEAP_DIR", worker.environ["LIVEHEAP_DIR"])
    options = DialOptions(patience=Patience(say=lambda _text: None))
    with Caller.to(choose(str(worker.pid), worker.environ), options) as caller:
        yield Rounds(worker, tmp_path, caller)


def test_every_leak_is_told_by_kind_holder_and_rate(rounds: Rounds) -> None:
    for name, (kind, type_name, holder) in LEAKS.items():
        report = rounds.of(name)
        told = f"{name}: {report['verdict']}"
        assert report["verdict"]["kind"] == kind, told
        suspect = report["suspects"][report["verdict"]["suspect"]]
        assert suspect["type"].removeprefix("__main__.") == type_name, told
        if holder is not None:
            assert suspect["holder"].startswith(holder), told
        if name != "appended_bytes":
            assert suspect["growth_per_round"] == pytest.approx(STEP, rel=0.1), told
        assert suspect["orphan"] is (name == "held_by_c"), told


def test_no_innocent_is_accused(rounds: Rounds) -> None:
    for name in TWINS:
        report = rounds.of(name)
        kind = report["verdict"]["kind"]
        assert kind in ("plateau", "nothing-grows"), f"{name}: {report['verdict']}"
