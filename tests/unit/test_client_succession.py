"""Who is taken for the heir of a worker that ended in the middle of a hunt."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from liveheap.registry import Entry
from liveheap_client import workers
from liveheap_client.verbs.succession import Succession
from liveheap_client.workers import Worker


def worker(pid: int, start: int, **facts: Any) -> Worker:
    known = {"ppid": 9, "program": "web", "kind": "child", **facts}
    return Worker(Entry(pid, start, Path(f"{pid}.sock"), known), None, None)


class Machine:
    """The workers of a machine, as its registry would tell them."""

    def __init__(self, *present: Worker) -> None:
        self.present = list(present)

    def local(self, _environ: Mapping[str, str]) -> list[Worker]:
        return self.present


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(worker(1, 10), worker(2, 30))
    monkeypatch.setattr(workers, "local", machine.local)
    return machine


def after(machine: Machine, *present: Worker) -> Succession:
    line = Succession({})
    line.saw({"pid": 1, "start_time": 10})
    machine.present = list(present)
    return line


def test_the_next_child_of_the_same_parent_is_the_heir(machine: Machine) -> None:
    line = after(machine, worker(2, 30), worker(5, 60), worker(4, 50))

    assert line.heir(0) == 4
    assert line.told == "worker 1 ended, 4 took its place"


@pytest.mark.parametrize(
    "other", [{"ppid": 8}, {"program": "cron"}, {"kind": "master"}], ids=str
)
def test_neither_a_sibling_nor_a_stranger_is(
    machine: Machine, other: dict[str, Any]
) -> None:
    assert after(machine, worker(2, 30), worker(4, 50, **other)).heir(0) is None


def test_a_worker_of_another_machine_has_none_here(machine: Machine) -> None:
    line = Succession({})
    line.saw({"pid": 77, "start_time": 1})
    machine.present.append(worker(4, 50))

    assert line.heir(0) is None
