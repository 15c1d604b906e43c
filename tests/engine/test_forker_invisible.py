"""The application never notices a walk: no signal, no child, no file, no count."""

import contextlib
import os
import signal
import subprocess
import sys
import types
from collections.abc import Iterator

import pytest
from forking import finish, held, program, resume, walking

from liveheap import _heap


@pytest.fixture
def sigchld_hits() -> Iterator[list[int]]:
    hits: list[int] = []
    before = signal.signal(signal.SIGCHLD, lambda number, _frame: hits.append(number))
    yield hits
    signal.signal(signal.SIGCHLD, before)


def test_no_sigchld_is_sent_when_a_walk_ends(sigchld_hits: list[int]) -> None:
    for _ in range(3):
        with walking() as child:
            assert finish(child)["code"] == "complete"
    assert sigchld_hits == []


def test_no_sigchld_is_sent_when_a_walk_is_killed(sigchld_hits: list[int]) -> None:
    with walking(hold="hang") as child:
        child.kill()
        assert finish(child)["signal"] == signal.SIGKILL
    assert sigchld_hits == []


def test_a_waitpid_loop_finds_no_children() -> None:
    with held():
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        with pytest.raises(ChildProcessError):
            os.wait()


def test_an_ended_walk_is_no_zombie_that_waitpid_finds() -> None:
    with walking() as child:
        pidfd = os.pidfd_open(child.pid)
        with contextlib.closing(os.fdopen(pidfd)):
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT | 0x40000000)
            with pytest.raises(ChildProcessError):
                os.waitpid(-1, os.WNOHANG)
        assert finish(child)["end"] == "done"


def test_a_blocking_wait_returns_the_applications_own_child() -> None:
    with held(), subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1) as own:
        assert own.stdin is not None
        own.stdin.close()
        pid, _status = os.waitpid(-1, 0)
        assert pid == own.pid
        own.returncode = 0


def test_a_subprocess_in_flight_keeps_its_exit_code() -> None:
    code = "import sys; sys.stdin.read(); sys.exit(7)"
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1) as own:
        with walking() as child:
            assert finish(child)["code"] == "complete"
        assert own.stdin is not None
        own.stdin.close()
        assert own.wait(30) == 7


def test_a_walk_is_reaped_under_sig_ign() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with walking() as child:
            assert finish(child)["code"] == "complete"
            assert child.poll() == 0
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_the_signal_mask_is_as_before() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        mine = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        with walking() as child:
            assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mine
            finish(child)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_reference_counts_are_untouched() -> None:
    # Of our own: other threads of the test run take and drop what is everybody's.
    text = "".join(["a text ", "of our own"])
    module = types.ModuleType("made_here")
    made = type("Made", (), {})
    kept = [object(), [], {}, (text, 2.5), text, made, made(), module, lambda: text]
    before = [sys.getrefcount(one) for one in kept]
    for kind in ("graph", "histogram"):
        with walking(kind) as child:
            assert finish(child)["code"] == "complete"
    assert [sys.getrefcount(one) for one in kept] == before


def test_a_dropped_child_is_killed_and_reaped() -> None:
    with open(os.devnull, "wb") as spool:
        child = _heap.snapshot_start(spool.fileno(), "graph", {"hold": "hang"})
        pidfd = os.pidfd_open(child.pid)
        del child
        with pytest.raises(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, 0)
        os.close(pidfd)


def test_two_walks_at_once_do_not_disturb_each_other() -> None:
    with held() as first, held(kind="histogram") as second:
        assert first.pid != second.pid
        resume(second.pid)
        assert finish(second)["code"] == "complete"
        resume(first.pid)
        assert finish(first)["code"] == "complete"
        assert first.status()["nodes"] >= second.status()["nodes"] // 2


def test_a_fork_of_the_application_inherits_nothing_of_a_walk() -> None:
    with program("forks_meanwhile.py") as worker:
        answer = worker.answer()
        assert answer == {
            "inherited": "[]",
            "status": 0,
            "over": True,
            "complete": True,
            "reason": None,
            "left": 0,
        }
