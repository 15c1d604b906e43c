"""`stop`: one worker, all workers, and those that cannot be told."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from command_line import liveheap
from spawn import Stage, Worker, eventually, stop


def started(stage: Stage, run_dir: Path | None = None) -> Worker:
    env = {} if run_dir is None else {"LIVEHEAP_DIR": str(run_dir)}
    worker = stage.spawn("plain", env=env)
    found = run_dir or worker.run_dir
    eventually(lambda: sockets(found, worker.pid), what="its agent listens")
    return worker


def sockets(run_dir: Path, pid: int) -> list[Path]:
    return list(run_dir.glob(f"{pid}-*.sock"))


def test_one_worker_is_stopped_and_seen_to_be(stage: Stage) -> None:
    worker = started(stage)

    done = liveheap("stop", worker.pid, env=worker.environ)

    assert f"process {worker.pid} has no agent any more" in done.stdout
    eventually(lambda: not worker.sockets(), what="its socket is gone")
    listed = liveheap("status", worker.pid, env=worker.environ, expect=3)
    assert "has no liveheap agent" in listed.stderr
    late = liveheap("inject", worker.pid, "--yes", env=worker.environ, expect=3)
    assert "switched off" in late.stderr


def test_all_are_stopped_and_who_cannot_be_told_is_named(stage: Stage) -> None:
    first = started(stage)
    second = started(stage, first.run_dir)
    stop(second.pid)
    try:
        done = liveheap("stop", "--all", "--json", env=first.environ, expect=1)
    finally:
        os.kill(second.pid, signal.SIGCONT)

    told = {row["pid"]: row["stopped"] for row in json.loads(done.stdout)}
    assert told == {first.pid: True, second.pid: False}
    assert f"touch {first.run_dir}/disabled" in done.stderr
    eventually(lambda: not sockets(first.run_dir, first.pid), what="one is gone")


@pytest.mark.parametrize("words", [[], ["1", "--all"], ["--all", "--via", "true"]])
def test_what_to_stop_has_to_be_said(words: list[str]) -> None:
    assert "hint: " in liveheap("stop", *words, env=os.environ, expect=2).stderr
