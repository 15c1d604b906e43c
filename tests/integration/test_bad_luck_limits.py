"""A worker at the end of some limit: no fork, no memory, no disk. It serves on."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_line import liveheap
from memory_cgroup import MemoryCgroup, NoCgroup
from spawn import Stage, Worker

from liveheap.errors import CommandError
from liveheap.protocol.auth import Scope
from liveheap.protocol.results import Record
from liveheap_client.dial import DialOptions
from liveheap_client.session import Session
from liveheap_client.target import parse

SAID_NO = 5
BALLAST = 300_000
MB = 1 << 20
ARGS = {"max_pause_ms": 1000.0, "force": False, "timeout_s": 60.0, "gc": False}


def limited(spawn_worker: Callable[..., Worker], *args: object) -> Worker:
    worker = spawn_worker("bad_luck_limits", BALLAST, *args)
    worker.wait_for_socket()
    return worker


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

    done = liveheap(
        "snapshot", worker.pid, "-o", file, env=worker.environ, expect=SAID_NO
    )

    assert "File too large" in done.stderr or "spool" in done.stderr
    assert not file.exists()
    assert_serves(worker)


@pytest.fixture
def full_disk(stage: Stage) -> Iterator[Path]:
    """A file system of 2 MB that is full but for 256 KB."""
    place = stage.directory / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(place)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no right to mount a small disk: {mounted.stderr.strip()}")
    (place / "other").write_bytes(bytes(2 * MB - (256 << 10)))
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_full_spool_disk_is_named(
    spawn_worker: Callable[..., Worker], full_disk: Path, tmp_path: Path
) -> None:
    worker = spawn_worker(
        "bad_luck_limits", BALLAST, env={"LIVEHEAP_SPOOL": str(full_disk)}
    )
    worker.wait_for_socket()
    file = tmp_path / "worker.liveheap"

    done = liveheap("snapshot", worker.pid, "-o", file, env=worker.environ, expect=None)

    if done.returncode:
        assert done.returncode == SAID_NO
        assert "spool" in done.stderr or "No space" in done.stderr
        assert "hint:" in done.stderr
        assert not file.exists()
    assert [path.name for path in full_disk.iterdir()] == ["other"]
    assert_serves(worker)


@pytest.fixture
def cgroup() -> Iterator[MemoryCgroup]:
    """A memory cgroup of our own, below the one we are in."""
    try:
        cgroup = MemoryCgroup.create()
    except NoCgroup as reason:
        pytest.skip(f"no memory cgroup can be made here: {reason}")
    yield cgroup
    cgroup.remove()


@pytest.fixture
def confined(stage: Stage, cgroup: MemoryCgroup) -> Iterator[Worker]:
    """A worker that was born in the cgroup; gone before the cgroup goes."""
    worker = stage.spawn_command(
        cgroup.command("bad_luck_limits.py", BALLAST), env={"LIVEHEAP_SPOOL": "/tmp"}
    )
    worker.wait_for_socket()
    yield worker
    worker.kill()


def test_too_little_headroom_in_the_cgroup_is_refused_with_the_figure(
    confined: Worker, cgroup: MemoryCgroup, tmp_path: Path
) -> None:
    cgroup.leave_headroom(8 * MB)
    file = tmp_path / "worker.liveheap"

    done = liveheap(
        "snapshot", confined.pid, "-o", file, env=confined.environ, expect=SAID_NO
    )

    assert "cgroup" in done.stderr
    assert "MB" in done.stderr or "MiB" in done.stderr
    assert "hint:" in done.stderr
    assert_serves(confined)


@pytest.mark.parametrize("headroom_mb", [4, 8, 16, 32])
def test_forced_snapshot_without_headroom_never_costs_the_worker(
    confined: Worker, cgroup: MemoryCgroup, tmp_path: Path, headroom_mb: int
) -> None:
    cgroup.leave_headroom(headroom_mb * MB)
    file = tmp_path / "worker.liveheap"

    done = liveheap(
        "snapshot",
        confined.pid,
        "-o",
        file,
        "--force",
        env=confined.environ,
        expect=None,
    )

    assert done.returncode in (0, SAID_NO), done.stderr
    assert file.exists() == (done.returncode == 0)
    if done.returncode:
        assert "killed" in done.stderr
    cgroup.lift()
    assert_serves(confined)
    assert confined.process.poll() is None
    assert os.path.exists(f"/proc/{confined.pid}")
