"""Every way a child ends is seen, reaped, and has a name."""

import gc
import os
import signal
import tempfile
import threading
import time

import pytest
from forking import DEADLINE_S, finish, held, resume, walking

from liveheap import _heap


def test_a_walk_that_ends_says_done() -> None:
    with walking() as child:
        status = finish(child)
        assert (status["end"], status["code"], status["signal"]) == (
            "done",
            "complete",
            0,
        )
        assert child.poll() == 0
        assert child.wait(0) == 0
        assert status["nodes"] > 1000
        assert status["cpu_s"] > 0
        assert child.pause_ns > 0


def test_the_watchdog_ends_a_child_that_hangs() -> None:
    with walking(hold="hang", timeout_s=0.05) as child:
        assert child.wait(DEADLINE_S) == -signal.SIGALRM
        assert child.status()["end"] == "signal"


def test_a_kill_from_outside_is_seen() -> None:
    with held() as child:
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait(DEADLINE_S) == -signal.SIGKILL
        assert child.status()["code"] == "running"


def test_a_spool_at_its_limit_stops_the_walk() -> None:
    keep = [[{"number": i}] for i in range(50_000)]
    with walking(spool_bytes=300_000) as child:
        status = finish(child)
        assert (status["end"], status["code"]) == ("done", "write-failed")
        assert os.strerror(status["system_error"]) == "File too large"
    assert len(keep) == 50_000


def test_a_child_without_memory_says_so() -> None:
    with walking(memory_bytes=4096) as child:
        status = finish(child)
        assert (status["end"], status["code"]) == ("done", "no-memory")


def test_a_spool_that_is_closed_at_the_far_end_stops_the_walk() -> None:
    reader, writer = os.pipe()
    child = _heap.snapshot_start(writer, "graph", {"hold": "stop", "timeout_s": 60})
    os.close(writer)
    os.waitpid(child.pid, os.WUNTRACED | 0x40000000)
    os.close(reader)
    resume(child.pid)
    status = finish(child)
    assert (status["end"], status["code"]) == ("done", "write-failed")
    assert os.strerror(status["system_error"]) == "Broken pipe"


def test_waiting_returns_none_when_the_time_is_over() -> None:
    with held() as child:
        assert child.wait(0) is None
        assert child.wait(0.01) is None
        assert child.poll() is None


def test_other_threads_run_while_one_waits() -> None:
    with held() as child:
        resumer = threading.Thread(target=lambda: resume(child.pid))
        resumer.start()
        assert child.wait(DEADLINE_S) == 0
        resumer.join()


def test_two_threads_may_wait_for_one_child() -> None:
    codes: list[int | None] = []
    with held() as child:
        waiters = [
            threading.Thread(target=lambda: codes.append(child.wait(DEADLINE_S)))
            for _ in range(2)
        ]
        for waiter in waiters:
            waiter.start()
        resume(child.pid)
        for waiter in waiters:
            waiter.join()
    assert codes == [0, 0]


def test_a_signal_handler_that_raises_ends_the_wait() -> None:
    class Interrupted(Exception):
        pass

    def interrupt(_number: int, _frame: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with held() as child, pytest.raises(Interrupted):  # noqa: PT012 -- any time
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            child.wait(DEADLINE_S)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_the_child_ends_even_if_the_thread_that_forked_it_has_ended() -> None:
    """PDEATHSIG belongs to the thread; who came too late for it sees that by itself."""
    children: list[_heap.Child] = []
    with tempfile.TemporaryFile() as spool:
        forking = threading.Thread(
            target=lambda: children.append(
                _heap.snapshot_start(
                    spool.fileno(), "graph", {"hold": "hang", "timeout_s": 60}
                )
            )
        )
        forking.start()
        forking.join()
        code = children[0].wait(DEADLINE_S)
    orphan = 40
    assert code in (-signal.SIGKILL, orphan)


@pytest.mark.parametrize(
    ("kind", "options", "wrong"),
    [
        ("graf", {}, "kind is"),
        ("graph", {"hold": "still"}, "hold is"),
        ("graph", {"timeout_s": -1}, "timeout_s is out of range"),
        ("graph", {"timeout_s": float("nan")}, "timeout_s is out of range"),
    ],
)
def test_a_wrong_option_is_refused_before_any_clone(
    kind: str, options: dict[str, object], wrong: str
) -> None:
    with tempfile.TemporaryFile() as spool, pytest.raises(ValueError, match=wrong):
        _heap.snapshot_start(spool.fileno(), kind, options)


def test_a_bad_descriptor_is_refused() -> None:
    with pytest.raises(ValueError, match="spool_fd"):
        _heap.snapshot_start(-1, "graph", {})


def test_an_unwritable_spool_is_an_honest_failure() -> None:
    with open(os.devnull, "rb") as spool:
        child = _heap.snapshot_start(spool.fileno(), "graph", {"timeout_s": 60})
        status = finish(child)
    assert (status["code"], os.strerror(status["system_error"])) == (
        "write-failed",
        "Bad file descriptor",
    )


def test_a_child_cannot_be_made_by_hand() -> None:
    with pytest.raises(TypeError):
        _heap.Child()


def test_a_child_may_not_be_forgotten_by_its_own_parent() -> None:
    with held() as child, pytest.raises(RuntimeError, match="forked"):
        child.forget()


def test_a_collection_in_progress_is_waited_for_and_then_flagged() -> None:
    """A finalizer that blocks inside gc.collect() leaves garbage on no list."""
    inside, let_go = threading.Event(), threading.Event()

    class Slow:
        def __del__(self) -> None:
            inside.set()
            let_go.wait(DEADLINE_S)

    cycle = Slow()
    cycle.itself = cycle  # type: ignore[attr-defined]
    del cycle
    collecting = threading.Thread(target=gc.collect)
    collecting.start()
    assert inside.wait(DEADLINE_S)
    started = time.monotonic()
    with walking() as child:
        waited = time.monotonic() - started
        let_go.set()
        assert finish(child)["flags"] & 1
    collecting.join()
    assert waited >= 0.05
    with walking() as child:
        assert not finish(child)["flags"] & 1


def test_a_bare_clone_leaves_nothing_behind() -> None:
    assert _heap.bare_clone() > 0
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG | 0x40000000)
