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
from liveheap.protocol.messages import Result
from liveheap.protocol.results import Blob, Record
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


def open_session(
    worker: Worker, target: str | None = None, environ: dict[str, str] | None = None
) -> Session:
    return Session.open(
        parse(target or str(worker.pid)),
        scope=Scope.GRAPH,
        options=DialOptions(environ=environ or worker.environ),
    )


def pid_of(session: Session) -> object:
    answer = session.request("status")
    assert isinstance(answer, Record)
    return answer.as_dict()["pid"]


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
    with open_session(worker, f"unix:{socket}", environ) as session:
        assert pid_of(session) == worker.pid  # the session has its thread
        worker.say("RLIMIT_NPROC 1")

        with pytest.raises(CommandError) as refused:
            list(session.stream("snapshot", ARGS))

        assert refused.value.code == "refused"
        assert "RLIMIT_NPROC" in str(refused.value)
        assert pid_of(session) == worker.pid


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
    confined: Confined,
) -> None:
    worker, fence = confined
    with open_session(worker) as session:
        assert pid_of(session) == worker.pid
        fence.leave_headroom(worker.pid, 8 * MB)

        with pytest.raises(CommandError) as refused:
            list(session.stream("snapshot", ARGS))

        assert refused.value.code == "refused"
        assert fence.name in str(refused.value)
        assert " MB" in str(refused.value)
        assert refused.value.hint
        assert pid_of(session) == worker.pid


@pytest.mark.parametrize("kind", memory_fence.kinds(), indirect=True)
@pytest.mark.parametrize("headroom_mb", [4, 8, 16, 32])
def test_forced_snapshot_without_headroom_never_costs_the_worker(
    confined: Confined, headroom_mb: int
) -> None:
    worker, fence = confined
    with open_session(worker) as session:
        assert pid_of(session) == worker.pid
        fence.leave_headroom(worker.pid, headroom_mb * MB)

        end = end_of_snapshot(session)

        fence.lift(worker.pid)
        assert end == "complete" or "memory" in end
        assert pid_of(session) == worker.pid
    assert_serves(worker)


def end_of_snapshot(session: Session) -> str:
    """Take a snapshot by force; return `complete`, or the reason why it is not."""
    try:
        last = list(session.stream("snapshot", {**ARGS, "force": True}))[-1]
    except CommandError as refused:
        return str(refused)
    assert isinstance(last, Result)
    assert isinstance(last.shape, Blob)
    return str(last.shape.trailer["reason"] or "complete")
