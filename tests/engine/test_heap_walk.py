"""Heap.snapshot: what a walk gives while it runs, and every way it can end."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from forking import AS_ROOT, program, resume, wait_until_stopped

from liveheap import heap as heap_module
from liveheap.errors import CommandError, EngineError
from liveheap.heap import Heap
from liveheap.walk import HeapWalk

IN_A_NAMESPACE = ("unshare", "--mount", "--")


def may_mount() -> bool:
    """Root, and not in a chroot, whose root is no mount that could be made private."""
    if not AS_ROOT:
        return False
    return subprocess.run([*IN_A_NAMESPACE, "true"], check=False).returncode == 0


FULL_DISKS = ["by-itself", "by-others"] if may_mount() else ["by-a-small-limit"]


@pytest.fixture
def heap() -> Heap:
    return Heap(environ={})


def held_walk(heap: Heap, **options: float) -> HeapWalk:
    walk = heap.snapshot(hold="stop", force=True, **options)
    wait_until_stopped(walk.pid)
    return walk


class Recorder:
    """The engine, with a list of what was called in the order of the calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._engine = heap_module._heap

    def __getattr__(self, name: str) -> object:
        self.calls.append(name)
        return getattr(self._engine, name)


def test_who_waits_for_the_gil_gets_it_right_before_and_after_the_clone(
    heap: Heap, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    monkeypatch.setattr(heap_module, "_heap", recorder)

    heap.snapshot(force=True).close()

    assert recorder.calls[-3:] == ["rest", "snapshot_start", "rest"]


def test_a_rest_keeps_the_gil_from_nobody() -> None:
    engine, started, others = heap_module._heap, threading.Event(), []

    def other() -> None:
        started.wait()
        others.append("ran")

    thread = threading.Thread(target=other)
    thread.start()
    before = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        started.set()
        deadline = time.monotonic() + 20
        while not others and time.monotonic() < deadline:
            engine.rest(0.01)
        assert others == ["ran"]
    finally:
        sys.setswitchinterval(before)
        thread.join()


@pytest.mark.parametrize("length", [0, 1, 55, 56, 63, 64, 65, 100_001])
def test_the_hash_is_that_of_hashlib(heap: Heap, length: int) -> None:
    data = os.urandom(length)
    ours = heap.sha256()
    ours.update(data[: length // 3])
    ours.update(data[length // 3 :])
    assert ours.hexdigest() == hashlib.sha256(data).hexdigest()


def test_the_engine_works_here(heap: Heap) -> None:
    assert heap.unsupported is None


def test_a_snapshot_is_complete_and_can_be_read(heap: Heap) -> None:
    with heap.snapshot() as walk:
        assert walk.wait(30)
        outcome = walk.outcome()
        assert (outcome.complete, outcome.reason) == (True, None)
        assert outcome.nodes > 1000
        assert outcome.edges > outcome.nodes
        assert outcome.bytes > 100_000
        assert outcome.walk_ns > 0
        assert outcome.pause_ns == walk.pause_ns > 0
        assert outcome.raw_length == walk.progress().raw_bytes
        assert len(walk.read(0, outcome.raw_length + 5)) == outcome.raw_length
        assert walk.read(outcome.raw_length, 10) == b""
        assert walk.read(10, 20) == walk.read(0, 30)[10:]


def test_a_held_walk_has_no_outcome_yet(heap: Heap) -> None:
    with held_walk(heap) as walk:
        assert not walk.wait(0.01)
        progress = walk.progress()
        assert (progress.done, progress.nodes, progress.raw_bytes) == (False, 0, 0)
        assert not progress.written
        with pytest.raises(EngineError, match="not ended"):
            walk.outcome()


def test_a_walk_that_has_only_to_end_says_so(heap: Heap) -> None:
    with heap.snapshot(hold="end", force=True) as walk:
        wait_until_stopped(walk.pid)
        progress = walk.progress()
        assert (progress.written, progress.done) == (True, False)
        resume(walk.pid)
        assert walk.wait(60)
        assert walk.outcome().complete
        assert walk.outcome().raw_length == progress.raw_bytes


def test_a_killed_walk_says_that_it_was_cancelled(heap: Heap) -> None:
    with held_walk(heap) as walk:
        walk.kill()
        assert walk.wait(60)
        assert walk.outcome().reason == "cancelled"
        assert not walk.outcome().complete


def test_a_walk_killed_from_outside_says_so(heap: Heap) -> None:
    with held_walk(heap) as walk:
        os.kill(walk.pid, signal.SIGKILL)
        assert walk.wait(60)
        outcome = walk.outcome()
        assert not outcome.complete
        assert outcome.reason is not None
        assert "killed from outside (SIGKILL)" in outcome.reason


def test_a_stopped_walk_is_ended_from_this_side(
    heap: Heap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped process does not get its own SIGALRM."""
    monkeypatch.setattr("liveheap.walk.KILL_GRACE_S", 0.05)
    with held_walk(heap, timeout_s=0.2) as walk:
        assert walk.wait(30)
        assert walk.outcome().reason == "timeout: the walk was not done after 0.2 s"


def test_a_hung_walk_is_ended_by_its_own_watchdog(heap: Heap) -> None:
    with heap.snapshot(hold="hang", timeout_s=0.1) as walk:
        assert walk.wait(30)
        assert walk.outcome().reason == "timeout: the walk was not done after 0.1 s"


def test_closing_kills_and_gives_everything_back(heap: Heap) -> None:
    files = len(os.listdir("/proc/self/fd"))
    walk = held_walk(heap)
    pidfd = os.pidfd_open(walk.pid)
    walk.close()
    walk.close()
    with pytest.raises(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, 0)
    os.close(pidfd)
    assert len(os.listdir("/proc/self/fd")) <= files


def test_a_walk_that_is_dropped_is_ended_too(heap: Heap) -> None:
    files = len(os.listdir("/proc/self/fd"))
    walk = held_walk(heap)
    pidfd = os.pidfd_open(walk.pid)
    del walk
    with pytest.raises(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, 0)
    os.close(pidfd)
    assert len(os.listdir("/proc/self/fd")) <= files


def test_a_worker_that_closes_everything_loses_the_walk_and_nothing_else() -> None:
    """All descriptors from 3 up are closed, as daemons do, and opened anew."""
    with program("closes_everything.py") as worker:
        answer = worker.answer()
    assert answer["over"] is True
    assert answer["intact"] == answer["opened"]
    assert answer["child_left"] is False


def test_a_walk_may_be_read_while_it_grows(heap: Heap) -> None:
    keep = [[{"number": i}] for i in range(100_000)]
    with held_walk(heap) as walk:
        assert walk.read(0, 100) == b""
        resume(walk.pid)
        read = b""
        while not walk.wait(0.001):
            read += walk.read(len(read), 1 << 20)
        read += walk.read(len(read), 1 << 30)
        assert len(read) == walk.outcome().raw_length
        assert read == walk.read(0, len(read))
    assert len(keep) == 100_000


def test_too_long_a_stop_is_refused_and_can_be_forced(heap: Heap) -> None:
    with pytest.raises(CommandError, match=r"would stop for about \d+ ms") as caught:
        heap.snapshot(max_pause_ms=0)
    assert caught.value.code == "refused"
    with heap.snapshot(max_pause_ms=0, force=True) as walk:
        assert walk.wait(30)
        assert walk.outcome().complete


def test_a_spool_directory_that_is_not_there_is_refused(heap: Heap) -> None:
    with pytest.raises(CommandError, match="/nonexistent") as caught:
        heap.snapshot(spool_directory="/nonexistent", force=True)
    assert caught.value.code == "refused"


def test_liveheap_spool_names_the_only_directory(tmp_path: Path) -> None:
    heap = Heap(environ={"LIVEHEAP_SPOOL": str(tmp_path)})
    with held_walk(heap) as walk:
        links = {
            os.readlink(f"/proc/self/fd/{fd}")
            for fd in os.listdir("/proc/self/fd")
            if os.path.islink(f"/proc/self/fd/{fd}")
        }
        assert any(link.startswith(str(tmp_path)) for link in links)
        assert list(tmp_path.iterdir()) == []
        resume(walk.pid)
        assert walk.wait(30)


def test_a_walk_teaches_how_many_objects_there_are(heap: Heap) -> None:
    with heap.snapshot() as walk:
        walk.wait(30)
        nodes = walk.outcome().nodes
    assert heap.facts().estimated_objects == pytest.approx(nodes, rel=0.3)


def test_facts_are_there_without_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap_module, "import_error", "no engine for this ABI")
    heap = Heap(environ={})
    assert heap.facts().rss > 0
    assert heap.unsupported == "no engine for this ABI"
    for ask in (heap.snapshot, heap.histogram, heap.prepare):
        with pytest.raises(CommandError, match="no engine for this ABI") as caught:
            ask()
        assert caught.value.code == "unsupported"
    assert heap.add_pending_call(lambda: None) is False


def test_a_failed_self_test_turns_the_engine_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> None:
        raise RuntimeError("dict keys are not where they should be")

    monkeypatch.setattr("liveheap._heap.selftest", fail)
    heap = Heap(environ={})
    assert heap.unsupported is not None
    assert "dict keys are not where" in heap.unsupported
    with pytest.raises(CommandError, match="self-test"):
        heap.snapshot()


def test_prepare_gathers_pages(heap: Heap) -> None:
    keep = [bytes(1000) for _ in range(20_000)]
    done = heap.prepare(rest_s=0)
    assert done.collapsed <= done.chunks
    assert done.stopped is None or "kernel" in done.stopped
    assert len(keep) == 20_000


def test_prepare_can_be_cancelled(heap: Heap) -> None:
    done = heap.prepare(rest_s=0, cancelled=lambda: True)
    assert done.chunks == 0
    assert done.stopped in ("cancelled", None)


def test_a_type_that_crashes_is_left_out_the_second_time() -> None:
    with program("crashing_type.py", "wait") as worker:
        answer = worker.answer()
    first, second = answer["answers"]
    assert first["complete"] is True
    assert any("without-type:" in f and "Crashing" in f for f in first["flags"])
    assert second["complete"] is True
    assert answer["counted"] == 1


def test_a_crash_under_a_reader_names_the_type_and_the_next_walk_avoids_it() -> None:
    with program("crashing_type.py", "read") as worker:
        answer = worker.answer()
    first, second = answer["answers"]
    assert first["complete"] is False
    assert "SIGSEGV" in first["reason"]
    assert "Crashing" in first["reason"]
    assert "Crashing" in first["type"]
    assert second["complete"] is True
    assert answer["counted"] == 1


@pytest.mark.parametrize("how", FULL_DISKS)
def test_a_full_spool_disk_is_an_honest_truncation(tmp_path: Path, how: str) -> None:
    mount = 'mount -t tmpfs -o size=1m none "$1" && shift && exec "$@"'
    prefix = (*IN_A_NAMESPACE, "sh", "-c", mount, "sh", str(tmp_path))
    if how == "by-a-small-limit":
        prefix = ("sh", "-c", 'ulimit -f 512 && exec "$@"', "sh")
    with program("full_disk.py", str(tmp_path), how, prefix=prefix) as worker:
        answer = worker.answer()
    assert answer["over"] is True
    assert answer["complete"] is False
    assert answer["reason"].startswith("spool-full: ")


def test_a_device_without_space_is_an_honest_truncation(
    heap: Heap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "liveheap.spool._open_unnamed",
        lambda _directory: os.open("/dev/full", os.O_RDWR),
    )
    with heap.snapshot(force=True) as walk:
        assert walk.wait(30)
        reason = walk.outcome().reason
        assert reason is not None
        assert reason.startswith("spool-full: no space left")
