"""What the child has given up before it looks at the first object.

Each test looks at a child that has stopped itself behind its fences.
"""

import contextlib
import fcntl
import os
import re
import resource
import socket
import tempfile
from pathlib import Path

import pytest
from forking import AS_ROOT, finish, held, program, resume, wait_until_gone

from liveheap import _heap


def proc(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text()


def status_field(pid: int, name: str) -> str:
    found = re.search(rf"^{name}:\s*(.*)$", proc(pid, "status"), re.MULTILINE)
    assert found is not None
    return found.group(1)


def limit(pid: int, name: str) -> list[str]:
    line = next(
        line for line in proc(pid, "limits").splitlines() if line.startswith(name)
    )
    return line[len(name) :].split()[:2]


def open_files(pid: int) -> dict[int, str]:
    folder = f"/proc/{pid}/fd"
    return {int(fd): os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder)}


def test_only_the_spool_and_dev_null_stay_open() -> None:
    reader, writer = os.pipe()
    high = fcntl.fcntl(writer, fcntl.F_DUPFD, 700)
    try:
        with held() as child:
            files = open_files(child.pid)
            assert [files.pop(fd) for fd in (0, 1, 2)] == ["/dev/null"] * 3
            assert len(files) == 1
            assert "(deleted)" in next(iter(files.values()))
    finally:
        for fd in (reader, writer, high):
            os.close(fd)


def test_a_spool_on_a_standard_descriptor_is_moved(tmp_path: Path) -> None:
    spool = os.open(tmp_path / "spool", os.O_RDWR | os.O_CREAT)
    kept_stdin = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 10)
    os.dup2(spool, 0)
    try:
        child = _heap.snapshot_start(0, "graph", {"timeout_s": 30})
    finally:
        os.dup2(kept_stdin, 0)
        os.close(kept_stdin)
    assert finish(child)["code"] == "complete"
    assert os.fstat(spool).st_size == child.status()["raw_bytes"]
    os.close(spool)


def test_the_child_is_the_first_to_go_when_memory_is_short() -> None:
    own = proc(os.getpid(), "oom_score_adj")
    with held() as child:
        assert proc(child.pid, "oom_score_adj") == "1000\n"
    assert proc(os.getpid(), "oom_score_adj") == own


def test_it_is_so_where_the_worker_has_no_descriptor_left() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    held_open = []
    with tempfile.TemporaryFile() as spool:
        resource.setrlimit(resource.RLIMIT_NOFILE, (spool.fileno() + 8, limits[1]))
        try:
            with contextlib.suppress(OSError):
                while True:
                    held_open.append(os.dup(spool.fileno()))
            child = _heap.snapshot_start(spool.fileno(), "histogram", {"timeout_s": 60})
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            for number in held_open:
                os.close(number)
        assert finish(child)["missing_fences"] == 0


def test_the_child_steps_behind_the_worker() -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    with held() as child:
        assert os.sched_getscheduler(child.pid) == os.SCHED_BATCH
        assert os.getpriority(os.PRIO_PROCESS, child.pid) == min(own + 10, 19)
        assert child.status()["missing_fences"] == 0


def test_the_child_says_what_it_is() -> None:
    with held() as child:
        assert proc(child.pid, "comm") == "liveheap-walk\n"


def test_only_the_watchdogs_signal_can_arrive_and_none_is_handled() -> None:
    with held() as child:
        blocked = int(status_field(child.pid, "SigBlk"), 16)
        alarm, kill, stop = 1 << 13, 1 << 8, 1 << 18
        assert blocked == ((1 << 64) - 1) & ~(alarm | kill | stop)
        assert int(status_field(child.pid, "SigCgt"), 16) == 0
        assert int(status_field(child.pid, "SigIgn"), 16) == 0


def test_limits_are_lowered_to_what_was_asked() -> None:
    with held(cpu_s=77, memory_bytes=64 << 20, spool_bytes=123456789) as child:
        assert limit(child.pid, "Max core file size") == ["1", "1"]  # also no pipe
        assert limit(child.pid, "Max cpu time") == ["77", "77"]
        assert limit(child.pid, "Max file size") == ["123456789"] * 2
        size = int(status_field(child.pid, "VmSize").split()[0]) * 1024
        room = int(limit(child.pid, "Max address space")[0]) - size
        assert 60 << 20 < room <= 64 << 20


def test_the_workers_own_limits_stay() -> None:
    before = proc(os.getpid(), "limits")
    with held(cpu_s=77, memory_bytes=64 << 20, spool_bytes=123456789):
        assert proc(os.getpid(), "limits") == before


def test_a_listening_socket_is_not_kept_by_the_child() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    with held():
        listener.close()
        with socket.socket() as client, pytest.raises(ConnectionRefusedError):
            client.connect(address)


def test_a_lock_on_a_file_is_not_kept_by_the_child() -> None:
    with tempfile.NamedTemporaryFile() as file, open(file.name, "rb") as other:
        locked = open(file.name, "rb")  # noqa: SIM115 -- closed in the middle
        fcntl.flock(locked, fcntl.LOCK_EX)
        with held():
            locked.close()
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_end_of_a_pipe_is_seen_while_the_child_lives() -> None:
    reader, writer = os.pipe()
    with held():
        os.close(writer)
        assert os.read(reader, 1) == b""
    os.close(reader)


def test_the_child_goes_with_its_worker() -> None:
    with program("holds_walk.py") as worker:
        pidfd = os.pidfd_open(worker.answer())
        worker.process.kill()
        wait_until_gone(pidfd)
        os.close(pidfd)


@pytest.mark.skipif(not AS_ROOT, reason="needs root to become another user")
def test_no_process_left_is_a_clear_refusal_and_the_worker_goes_on() -> None:
    with tempfile.TemporaryDirectory() as spools:  # pytest's are not for other users
        os.chmod(spools, 0o777)
        with program("no_processes_left.py", spools) as worker:
            answer = worker.answer()
            assert worker.end() == 0
    assert answer["errno"] == 11
    code, message, hint = answer["refusal"]
    assert code == "refused"
    assert "RLIMIT_NPROC" in message
    assert "histogram" in hint
    assert answer["in_process"] is True
    assert answer["dicts"] >= answer["kept"]


def test_a_child_resumed_after_its_fences_walks_to_the_end() -> None:
    with held() as child:
        assert child.status()["stage"] == "fenced"
        assert child.poll() is None
        resume(child.pid)
        status = finish(child)
        assert (status["stage"], status["code"]) == ("ended", "complete")
