"""`on_main`: exactly one of three takers runs it, whatever happens in between."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from spawn import eventually

from liveheap.agent import native
from liveheap.agent.mainthread import MainThread

LONG_S = 60.0


class Pending:
    """The interpreter's pending calls, under the test's hand."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], Any]] = []

    def add(self, call: Callable[[], Any]) -> bool:
        self.calls.append(call)
        return True


class Time:
    """Locks for whose waits the time is over when the test says so."""

    def __init__(self) -> None:
        self.strikes, self.has_struck = threading.Event(), threading.Event()

    def lock(self) -> Any:
        lock = threading.Lock()

        def acquire(blocking: bool = True, timeout: float = -1) -> bool:
            if timeout < 0:
                return lock.acquire(blocking)
            self.strikes.wait(LONG_S)
            self.has_struck.set()
            return lock.acquire(False)

        return SimpleNamespace(acquire=acquire, release=lock.release)


@pytest.fixture
def pending() -> Pending:
    return Pending()


@pytest.fixture
def main_thread(pending: Pending) -> MainThread:
    return MainThread(native.find(), pending.add)


def run_aside(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Run something in another thread, and collect what came out."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    return thread, found


def test_the_asker_runs_it_when_nobody_comes(main_thread, pending):
    runs: list[int] = []
    assert main_thread.run(lambda: runs.append(1), 0.01)[0] == "agent"
    for call in pending.calls:
        call()
    assert runs == [1]


def test_a_pending_call_runs_it_and_the_asker_does_not(main_thread, pending):
    thread, found = run_aside(lambda: main_thread.run(threading.get_ident, LONG_S))
    eventually(lambda: pending.calls, what="the call is pending")
    pending.calls[0]()
    thread.join(LONG_S)
    assert found == [("main", threading.get_ident())]


def test_the_time_that_strikes_in_the_middle_does_not_run_it_twice(
    main_thread, pending
):
    begun, finish, runs = threading.Event(), threading.Event(), []

    def slow() -> str:
        runs.append(1)
        begun.set()
        finish.wait(LONG_S)
        return "done"

    time = Time()
    impatient = MainThread(replace(native.find(), lock=time.lock), pending.add)
    thread, found = run_aside(lambda: impatient.run(slow, 0.01))
    eventually(lambda: pending.calls, what="the call is pending")
    taker, _ = run_aside(pending.calls[0])
    assert begun.wait(LONG_S)
    time.strikes.set()
    assert time.has_struck.wait(LONG_S)
    assert found == []
    finish.set()
    thread.join(LONG_S)
    taker.join(LONG_S)
    assert found == [("main", "done")]
    assert runs == [1]


def test_what_it_raises_is_raised_to_the_asker_and_not_to_the_host(
    main_thread, pending
):
    def fail() -> None:
        raise KeyError("on purpose")

    with pytest.raises(KeyError):
        main_thread.run(fail, 0.01)
    for call in pending.calls:
        call()


@pytest.mark.parametrize("answer", [False, OSError])
def test_a_queue_that_takes_no_call_leaves_the_asker(answer):
    def refuse(call: Callable[[], Any]) -> bool:
        if answer is False:
            return False
        raise answer

    assert MainThread(native.find(), refuse).run(lambda: 5, 0.01) == ("agent", 5)


def test_a_call_left_behind_by_a_fork_does_nothing_in_the_child(
    main_thread, pending, monkeypatch
):
    runs: list[int] = []
    thread, _ = run_aside(lambda: main_thread.run(lambda: runs.append(1), LONG_S))
    eventually(lambda: pending.calls, what="the call is pending")
    here = os.getpid()
    with monkeypatch.context() as child:
        child.setattr("liveheap.agent.mainthread.os.getpid", lambda: here + 1)
        pending.calls[0]()
    assert runs == []
    pending.calls[0]()
    thread.join(LONG_S)
    assert runs == [1]
