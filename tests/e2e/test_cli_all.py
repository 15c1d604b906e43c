"""`leaks --all` and `diff --all` over a real tree of workers."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import liveheap, starting
from spawn import Worker, eventually, stop

USAGE = 2


@pytest.fixture
def fleet(spawn_worker: Callable[..., Worker]) -> Worker:
    """A master and two children that leak alike."""
    return started(spawn_worker, "cache", "cache")


def started(spawn_worker: Callable[..., Worker], *leaks: str) -> Worker:
    worker = spawn_worker("leaky_fleet", *leaks)
    for pid in children(worker):
        worker.wait_for_socket(pid)
    return worker


def children(fleet: Worker) -> list[int]:
    return [int(word) for word in fleet.said.split()[:-1]]


def test_leaks_over_a_tree_says_who_leaks_alike_and_ranks_them(
    fleet: Worker, tmp_path: Path
) -> None:
    first, second = map(str, children(fleet))

    done = liveheap(
        *("leaks", "--all", fleet.pid, "--interval", "0.5", "--rounds", 4, "--json"),
        *("--keep", tmp_path / "kept"),
        env=fleet.environ,
    )
    found = json.loads(done.stdout)
    workers = {one["worker"]: one for one in found["workers"]}
    by_place = {
        leak["what"].split()[0]: set(leak["workers"]) for leak in found["leaks"]
    }

    assert found["sentence"].startswith("2 of 3 workers leak alike: __main__.CACHE")
    assert by_place["__main__.CACHE['rows']"] == {first, second}
    assert {workers[name]["verdict"] for name in (first, second)} == {"leak"}
    assert workers[str(fleet.pid)]["leaks"] == []
    assert found["workers"][-1]["worker"] == str(fleet.pid)
    assert found["workers"][0]["report"]["verdict"]["kind"] == "leak"
    assert found["next"] == f"liveheap leaks {found['workers'][0]['worker']}"
    assert len(list((tmp_path / "kept").glob("*/round-*.liveheap"))) == 3 * 4


def test_one_that_ends_is_told_and_keeps_nobody_from_being_judged(
    spawn_worker: Callable[..., Worker],
) -> None:
    fleet = started(spawn_worker, "cache", "log", "nothing")
    words = ("diff", "--all", fleet.pid, "--interval", "1")
    _, dying, stopped = children(fleet)
    stop(stopped)
    with starting(*words, env=fleet.environ) as process:
        assert process.stderr is not None
        process.stderr.readline()
        os.kill(dying, signal.SIGKILL)
        said, _ = process.communicate(timeout=60)
    os.kill(stopped, signal.SIGCONT)

    assert process.returncode == 0
    assert "1 of 2 workers grows: __main__.CACHE" in said
    assert f"not judged: {dying}: " in said
    assert f"not judged: {stopped}: it is stopped" in said


def test_a_worker_s_successor_is_asked_on(
    spawn_worker: Callable[..., Worker], tmp_path: Path
) -> None:
    fleet = started(spawn_worker, "cache", "respawn")
    (dying,) = children(fleet)
    words = ("--interval", "1", "--rounds", "4", "--json", "--keep", tmp_path / "k")
    with starting("diff", "--all", dying, *words, env=fleet.environ) as process:
        first = tmp_path / "k" / str(dying) / "round-001.liveheap"
        eventually(first.exists, what="the first round is there")
        os.kill(dying, signal.SIGKILL)
        said, _ = process.communicate(timeout=60)

    (worker,) = json.loads(said)["workers"]
    assert worker["failure"] is None
    assert "took its place" in " ".join(worker["notes"])
    assert worker["target"] != worker["worker"] == str(dying)


def test_files_and_all_exclude_each_other() -> None:
    file = Path(__file__).parents[1] / "data" / "golden-1.0.liveheap"

    done = liveheap("leaks", "--all", file, env=os.environ, expect=USAGE)

    assert "--all: for a live worker only" in done.stderr
