"""Heap.histogram: in a child, in the worker, and the stream between them."""

import gc
import os
from pathlib import Path

import pytest

from liveheap import _heap
from liveheap import heap as heap_module
from liveheap.counts import Counts, TypeCount, read_counts
from liveheap.errors import CommandError, EngineError
from liveheap.heap import Heap, HistogramResult
from liveheap.limits import Bound
from liveheap.spool import Spool, directories


class Planted:
    """Counted by name."""


@pytest.fixture
def heap() -> Heap:
    return Heap(environ={})


def planted(result: HistogramResult) -> int:
    return next(row.count for row in result.rows if row.name == "Planted")


@pytest.mark.parametrize("in_process", [True, False])
def test_planted_objects_are_counted(heap: Heap, in_process: bool) -> None:
    keep = [Planted() for _ in range(1234)]
    result = heap.histogram(in_process=in_process)
    assert planted(result) == len(keep)
    row = next(row for row in result.rows if row.name == "Planted")
    assert row.module == __name__
    assert row.bytes >= 16 * 1234
    assert result.in_process is in_process
    assert result.pause_ns > 0
    assert result.nodes >= sum(row.count for row in result.rows)
    assert result.bytes >= sum(row.bytes for row in result.rows)


def test_both_ways_count_alike(heap: Heap) -> None:
    gc.collect()
    here, there = (heap.histogram(in_process=where) for where in (True, False))
    assert here.nodes == pytest.approx(there.nodes, rel=0.02)
    assert here.bytes == pytest.approx(there.bytes, rel=0.02)


def test_the_worker_is_spared_the_count_if_nobody_asks_otherwise(heap: Heap) -> None:
    assert not heap.histogram().in_process


def test_short_memory_refuses_the_count_in_the_worker_too(
    heap: Heap, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = Bound("memory limit of cgroup /app", 1 << 20)
    monkeypatch.setattr("liveheap.limits.headroom", lambda _root: wall)
    for in_process in (None, True, False):
        with pytest.raises(CommandError, match="cgroup /app leaves 1 MB") as caught:
            heap.histogram(in_process=in_process)
        assert caught.value.detail == {"cause": "memory"}
    assert heap.histogram(in_process=True, force=True).in_process


def test_a_refused_clone_falls_back_to_the_worker_if_the_stop_is_affordable(
    heap: Heap, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("liveheap._heap.snapshot_start", refuse)
    assert heap.histogram(max_pause_ms=10_000).in_process
    monkeypatch.setattr(heap_module, "IN_PROCESS_NS_PER_OBJECT", 10**9)
    with pytest.raises(CommandError, match="RLIMIT_NPROC") as caught:
        heap.histogram(max_pause_ms=10_000)
    assert caught.value.code == "refused"
    with pytest.raises(CommandError, match="RLIMIT_NPROC"):
        heap.histogram(in_process=False, max_pause_ms=10_000)


def test_a_histogram_can_be_cancelled_while_its_clone_walks(
    heap: Heap, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, pids = _heap.snapshot_start, list[int]()

    def start_held(fd: int, kind: str, options: dict[str, object]) -> _heap.Child:
        child = start(fd, kind, {**options, "hold": "stop"})
        pids.append(child.pid)
        return child

    def cancelled() -> None:
        raise CommandError("cancelled", "nobody wants to know any more")

    monkeypatch.setattr("liveheap._heap.snapshot_start", start_held)
    with pytest.raises(CommandError, match="nobody wants to know"):
        heap.histogram(cancelled=cancelled)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def meta(kind: int, *numbers: int) -> bytes:
    return b"".join(map(varint, (kind << 3 | 7, *numbers)))


def text(value: bytes) -> bytes:
    return meta(2, len(value)) + value


STREAM = (
    text(b"app")
    + text(b"Job")
    + meta(1, 1, 0x1234, 1, 48, 0, 1, 2, 2, 1, 1, 3, 2)
    + meta(1, 2, 0x1238, 8, 48, 0, 0, 2, 0)
    + meta(6, 1, 300, 14400)
    + meta(6, 2, 5, 500)
    + meta(0, 305, 0, 14900)
)


def test_a_stream_is_read_back() -> None:
    assert read_counts(STREAM) == Counts(
        rows=[TypeCount("app", "Job", 300, 14400)],
        nodes=305,
        bytes=14900,
        complete=True,
    )


def test_a_cut_stream_is_never_complete_and_never_fails() -> None:
    for length in range(len(STREAM)):
        assert not read_counts(STREAM[:length]).complete


@pytest.mark.parametrize(
    "strange",
    [b"\xff" * 12, meta(9, 1), varint(3 << 3), meta(6, 9, 1, 1) + meta(0, 1, 1, 1)],
)
def test_a_strange_stream_is_an_engine_error(strange: bytes) -> None:
    with pytest.raises(EngineError):
        read_counts(strange)


def test_a_spool_has_no_name_and_lets_nobody_in(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    assert spool.size() == 0
    spool.close()
    spool.close()
    assert spool.fd == -1


def test_a_file_system_without_tmpfiles_gets_an_unlinked_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.O_TMPFILE", 0o40000000)
    spool = Spool(str(tmp_path))
    assert spool.fd >= 0
    assert list(tmp_path.iterdir()) == []
    spool.close()


def test_a_number_that_became_somebody_elses_file_is_left_alone(tmp_path: Path) -> None:
    """python-daemon closes all descriptors, and the next open takes their numbers."""
    spool = Spool(str(tmp_path))
    number = spool.fd
    os.close(number)
    other = tmp_path / "other"
    other.write_text("not ours")
    descriptor = os.open(other, os.O_RDONLY)
    assert descriptor == number
    assert spool.fd == -1
    assert spool.read(0, 10) == b""
    assert spool.size() == 0
    spool.close()
    del spool
    assert os.read(descriptor, 20) == b"not ours"
    os.close(descriptor)


def test_a_chosen_directory_is_the_only_one() -> None:
    environ = {"LIVEHEAP_SPOOL": "/a"}
    assert directories(environ, "/b", "/run/x") == ("/b",)
    assert directories(environ, None, "/run/x") == ("/a",)
    assert directories({}, None, "/run/x") == ("/var/tmp", "/tmp", "/run/x")
