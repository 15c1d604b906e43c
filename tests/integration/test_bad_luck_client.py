"""Slow clients, many clients, and a worker that forks while they are there."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from caught_child import BALLAST, children, is_gone
from command_line import liveheap
from spawn import Worker, eventually, stop

from liveheap.errors import CommandError
from liveheap.protocol.auth import Scope
from liveheap.protocol.messages import Chunk, Result
from liveheap.protocol.results import Blob, Record
from liveheap_client.dial import DialOptions
from liveheap_client.errors import TransportError
from liveheap_client.session import Session
from liveheap_client.target import parse

ARGS = {"max_pause_ms": 1000.0, "force": False, "timeout_s": 60.0, "gc": False}


@pytest.fixture
def worker(spawn_worker: Callable[..., Worker]) -> Worker:
    worker = spawn_worker("gevent_leak", BALLAST)
    worker.wait_for_socket()
    return worker


@pytest.fixture
def forking(spawn_worker: Callable[..., Worker]) -> Worker:
    worker = spawn_worker("bad_luck_forks")
    worker.wait_for_socket()
    return worker


def open_session(worker: Worker, pid: int | None = None) -> Session:
    return Session.open(
        parse(str(pid or worker.pid)),
        scope=Scope.GRAPH,
        options=DialOptions(environ=worker.environ),
    )


@pytest.fixture
def session(worker: Worker) -> Iterator[Session]:
    with open_session(worker) as session:
        yield session


def status(session: Session) -> dict[str, object]:
    answer = session.request("status")
    assert isinstance(answer, Record)
    return answer.as_dict()


def test_client_that_does_not_read_does_not_lengthen_the_childs_life(
    worker: Worker, session: Session
) -> None:
    events = session.stream("snapshot", ARGS)
    next(event for event in events if isinstance(event, Chunk))

    eventually(
        lambda: all(map(is_gone, children(worker.pid))), what="the child ends by itself"
    )

    rest = list(events)
    last = rest[-1]
    assert isinstance(last, Result)
    assert isinstance(last.shape, Blob)
    assert last.shape.trailer["complete"]


def test_slow_client_keeps_the_heavy_lock_and_others_are_told_busy(
    worker: Worker, session: Session
) -> None:
    slow = session.stream("snapshot", ARGS)
    next(event for event in slow if isinstance(event, Chunk))

    with open_session(worker) as second:
        with pytest.raises(CommandError) as refused:
            list(second.stream("snapshot", ARGS))
        assert refused.value.code == "busy"
        assert status(second)["pid"] == worker.pid
        slow.close()
        assert isinstance(list(second.stream("snapshot", ARGS))[-1], Result)


def test_client_that_hangs_up_in_mid_transfer_frees_the_lock(worker: Worker) -> None:
    with open_session(worker) as session:
        events = session.stream("snapshot", ARGS)
        next(event for event in events if isinstance(event, Chunk))
        session.close()
        events.close()

    def whole() -> bool:
        with open_session(worker) as session:
            try:
                events = list(session.stream("snapshot", ARGS))
            except CommandError as refused:
                if refused.code == "busy":
                    return False
                raise
        return isinstance(events[-1], Result)

    eventually(whole, what="the lock is free again")


def test_three_clients_at_once_are_all_answered(worker: Worker) -> None:
    with (
        open_session(worker) as first,
        open_session(worker) as second,
        open_session(worker) as third,
    ):
        for _ in range(3):
            pids = [status(session)["pid"] for session in (first, second, third)]
            assert pids == [worker.pid] * 3


def test_cancelled_snapshot_leaves_a_session_that_can_be_used(
    worker: Worker, session: Session
) -> None:
    with closing(session.stream("snapshot", ARGS)) as events:
        next(event for event in events if isinstance(event, Chunk))

    assert status(session)["pid"] == worker.pid
    eventually(lambda: not children(worker.pid), what="the child is gone")


def test_worker_that_forks_during_a_session_keeps_it_and_shares_nothing(
    forking: Worker,
) -> None:
    with open_session(forking) as session:
        child = fork(forking)
        assert status(session)["pid"] == forking.pid

        forking.wait_for_socket(child)
        with open_session(forking, child) as other:
            assert status(other)["pid"] == child
            stop(forking.pid)
            assert status(other)["pid"] == child
            os.kill(forking.pid, signal.SIGCONT)


def test_session_ends_with_its_worker_though_a_forked_child_lives(
    spawn_worker: Callable[..., Worker],
) -> None:
    worker = spawn_worker("bad_luck_forks", "stay")
    worker.wait_for_socket()
    with open_session(worker) as session:
        child = fork(worker)
        worker.wait_for_socket(child)

        worker.kill()

        with pytest.raises(TransportError):
            status(session)
        with open_session(worker, child) as other:
            assert status(other)["pid"] == child


def test_ps_lists_a_worker_and_its_forked_child(forking: Worker) -> None:
    child = fork(forking)
    forking.wait_for_socket(child)

    listed = json.loads(liveheap("ps", "--json", env=forking.environ).stdout)

    assert {entry["pid"] for entry in listed} == {forking.pid, child}


def fork(worker: Worker) -> int:
    """Let the worker fork; return the child's pid, which it said itself."""
    worker.say("fork")
    return int(worker.said.split()[0])
