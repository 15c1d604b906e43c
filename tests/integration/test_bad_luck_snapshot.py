"""Somebody dies or hangs in the middle of a snapshot: the worker goes on serving."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from caught_child import BALLAST, Caught, catch, children, files, is_gone
from command_line import liveheap, starting
from spawn import Worker, eventually

CANNOT_CONNECT, SAID_NO = 3, 5


@pytest.fixture
def worker(spawn_worker: Callable[..., Worker]) -> Worker:
    worker = spawn_worker("gevent_leak", BALLAST)
    worker.wait_for_socket()
    return worker


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "worker.liveheap"


@pytest.fixture
def take(worker: Worker, file: Path) -> Callable[..., Caught]:
    """Catch a snapshot of the worker in the middle; more words go to the command."""

    def snapshot(*words: object) -> Caught:
        return catch(worker.pid, lambda: start(*words))

    def start(*words: object) -> "subprocess.Popen[str]":
        file.unlink(missing_ok=True)
        return starting("snapshot", worker.pid, "-o", file, *words, env=worker.environ)

    return snapshot


@pytest.fixture
def serves_on(worker: Worker) -> Iterator[None]:
    """The worker is the same, has no child left and gives a whole snapshot."""
    yield
    eventually(lambda: not children(worker.pid), what="no child is left")
    status = json.loads(
        liveheap("status", worker.pid, "--json", env=worker.environ).stdout
    )
    assert status["pid"] == worker.pid
    after = worker.run_dir.parent / "after.liveheap"
    liveheap("snapshot", worker.pid, "-o", after, env=worker.environ)
    assert after.exists()


@pytest.mark.usefixtures("serves_on")
def test_client_killed_in_mid_walk_takes_the_child_with_it(
    take: Callable[..., Caught], file: Path
) -> None:
    caught = take()

    caught.client.kill()
    caught.client.communicate()

    eventually(lambda: is_gone(caught.pid), what="the child is killed")
    assert not file.exists()


@pytest.mark.usefixtures("serves_on")
def test_interrupted_client_cancels_and_ends_with_130(
    take: Callable[..., Caught], file: Path
) -> None:
    caught = take()

    caught.client.send_signal(signal.SIGINT)

    caught.said()
    assert caught.client.returncode == 130
    eventually(lambda: is_gone(caught.pid), what="the child is killed")
    assert not file.exists()


@pytest.mark.usefixtures("serves_on")
def test_killed_child_is_reported_as_killed(
    take: Callable[..., Caught], file: Path
) -> None:
    caught = take()

    caught.signal(signal.SIGKILL)

    said = caught.said()
    assert caught.client.returncode == SAID_NO
    assert "killed" in said
    assert "signal 9" in said or "SIGKILL" in said
    assert "hint:" in said
    assert not file.exists()


@pytest.mark.usefixtures("serves_on")
def test_hung_child_is_ended_by_the_watchdog(
    take: Callable[..., Caught], file: Path
) -> None:
    caught = take("--timeout-s", 1)

    said = caught.said()

    assert caught.client.returncode == SAID_NO
    assert "1 s" in said
    assert is_gone(caught.pid)
    assert not file.exists()


def test_worker_killed_in_mid_walk_takes_the_child_with_it(
    worker: Worker, take: Callable[..., Caught], file: Path
) -> None:
    caught = take()
    begun = Path(f"{file}.part")
    eventually(
        lambda: begun.exists() and begun.stat().st_size, what="the header is here"
    )

    worker.kill()

    said = caught.said()
    assert caught.client.returncode == CANNOT_CONNECT
    assert f"liveheap: no process {worker.pid}" in said
    eventually(lambda: is_gone(caught.pid), what="the orphan dies")
    assert not file.exists()
    listed = liveheap("ps", "--json", env=worker.environ).stdout
    assert json.loads(listed) == []


@pytest.mark.usefixtures("serves_on")
def test_second_heavy_command_is_told_busy_and_light_ones_are_answered(
    worker: Worker, take: Callable[..., Caught], file: Path
) -> None:
    caught = take()

    second = liveheap(
        "snapshot", worker.pid, "-o", f"{file}.2", env=worker.environ, expect=SAID_NO
    )
    liveheap("status", worker.pid, env=worker.environ)
    caught.signal(signal.SIGCONT)

    assert "running for another client" in second.stderr
    caught.said()
    assert caught.client.returncode == 0
    assert file.exists()


@pytest.mark.usefixtures("serves_on")
def test_child_sees_none_of_the_workers_files_and_stands_back(
    take: Callable[..., Caught],
) -> None:
    caught = take()

    proc = Path(f"/proc/{caught.pid}")
    strange = {name for name in files(caught.pid) if name != "/dev/null"}
    assert len(strange) == 1
    assert strange.pop().endswith(" (deleted)")
    assert (proc / "oom_score_adj").read_text().strip() == "1000"
    assert os.getpriority(os.PRIO_PROCESS, caught.pid) > 0
    caught.signal(signal.SIGCONT)
    caught.said()
