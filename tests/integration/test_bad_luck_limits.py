"""A worker at the end of some limit: no fork, no memory, no disk. It serves on."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import memory_fence
import pytest
from command_line import liveheap
from memory_fence import Fence
from spawn import Stage, Worker

from liveheap.errors import CommandError
from liveheap.protocol.auth import Scope
from liveheap.protocol.results import Record
from liveheap_client.dial import DialOptions
from liveheap_client.session import Session
from liveheap_client.target import parse

FAILED, SAID_NO = 1, 5
BALLAST = 300_000
MB = 1 << 20
ARGS = {"max_pause_ms": 1000.0, "force": False, "timeout_s": 60.0, "gc": False}


Confined = tuple[Worker, Fence]


def limited(
    spawn_worker: Callable[..., Worker],
    *args: object,
    env: dict[str, str] | None = None,
) -> Worker:
    worker = spawn_worker("bad_luck_limits", BALLAST, *args, env=env)
    worker.wait_for_socket()
    return worker


@pytest.fixture
def disk(stage: Stage) -> Iterator[Path]:
    """A file system of 2 MB that is full but for 256 KB; any directory if not root."""
    place = stage.directory / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(place)]
    mounted = os.geteuid() == 0 and not subprocess.run(mount, check=False).returncode
    (place / "other").write_bytes(bytes(2 * MB - (256 << 10)))
    yield place
    if mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of fence; see memory_fence.kinds."""
    return str(request.param)


@pytest.fixture
def confined(stage: Stage, kind: str) -> Iterator[Confined]:
    """A worker born inside a fence; gone before the fence goes."""
    fence = memory_fence.make(kind)
    command = fence.command("bad_luck_limits.py", BALLAST)
    worker = stage.spawn_command(command, env={"LIVEHEAP_SPOOL": "/var/tmp"})
    worker.wait_for_socket()
    yield worker, fence
    worker.kill()
    fence.remove()


def assert_serves(worker: Worker) -> None:
    answer = liveheap("status", worker.pid, "--json", env=worker.environ).stdout
    assert json.loads(answer)["pid"] == worker.pid


def test_no_process_left_is_an_answer_and_not_an_accident(
    spawn_worker: Callable[..., Worker], tmp_path: Path
) -> None:
    worker = limited(spawn_worker, "somebody")
    token = tmp_path / "token"
    shutil.copyfile(next(worker.run_dir.glob("token")), token)
    token.chmod(0o600)
    environ = {**worker.environ, "LIVEHEAP_TOKEN_FILE": str(token)}
    socket = worker.wait_for_socket()
    with Session.open(
        parse(f"unix:{socket}"),
        scope=Scope.GRAPH,
        options=DialOptions(environ=environ),
    ) as session:
        worker.say("RLIMIT_NPROC 1")

        with pytest.raises(CommandError) as refused:
            list(session.stream("snapshot", ARGS))

        assert refused.value.code == "refused"
        assert "RLIMIT_NPROC" in str(refused.value)
        answer = session.request("status")
        assert isinstance(answer, Record)
        assert answer.as_dict()["pid"] == worker.pid


def test_spool_that_may_not_grow_ends_the_snapshot_with_the_reason(
    spawn_worker: Callable[..., Worker], tmp_path: Path
) -> None:
    worker = limited(spawn_worker)
    worker.say(f"RLIMIT_FSIZE {MB}")
    file = tmp_path / "worker.liveheap"

    done = liveheap("snapshot", worker.pid, "-o", file, env=worker.environ, expect=None)

    assert done.returncode in (FAILED, SAID_NO), done.stderr
    assert "spool" in done.stderr
    assert_serves(worker)


def test_full_spool_disk_is_refused_beforehand(
    spawn_worker: Callable[..., Worker], disk: Path, tmp_path: Path
) -> None:
    worker = limited(spawn_worker, env={"LIVEHEAP_SPOOL": str(disk)})
    file = tmp_path / "worker.liveheap"

    done = liveheap("snapshot", worker.pid, "-o", file, env=worker.environ, expect=None)

    if done.returncode:
        assert done.returncode == SAID_NO
        assert "spool" in done.stderr
        assert "hint:" in done.stderr
        assert not file.exists()
    assert [path.name for path in disk.iterdir()] == ["other"]
    assert_serves(worker)


@pytest.mark.parametrize("kind", memory_fence.kinds(), indirect=True)
def test_too_little_headroom_is_refused_with_the_limit_and_the_figure(
    confined: Confined, tmp_path: Path
) -> None:
    worker, fence = confined
    fence.leave_headroom(worker.pid, 8 * MB)
    file = tmp_path / "worker.liveheap"

    done = liveheap(
        "snapshot", worker.pid, "-o", file, env=worker.environ, expect=SAID_NO
    )

    assert fence.name in done.stderr
    assert " MB" in done.stderr
    assert "hint:" in done.stderr
    assert not file.exists()
    assert_serves(worker)


@pytest.mark.parametrize("kind", memory_fence.kinds(), indirect=True)
@pytest.mark.parametrize("headroom_mb", [4, 8, 16, 32])
def test_forced_snapshot_without_headroom_never_costs_the_worker(
    confined: Confined, tmp_path: Path, headroom_mb: int
) -> None:
    worker, fence = confined
    fence.leave_headroom(worker.pid, headroom_mb * MB)
    file = tmp_path / "worker.liveheap"
    words = ("snapshot", worker.pid, "-o", file, "--force")

    done = liveheap(*words, env=worker.environ, expect=None)

    fence.lift(worker.pid)
    if done.returncode:
        assert done.returncode in (FAILED, SAID_NO), done.stderr
        assert "memory" in done.stderr
    assert_serves(worker)
    assert worker.process.poll() is None
