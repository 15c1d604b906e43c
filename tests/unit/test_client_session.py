"""A session over memory, with an agent that answers by a script."""

import signal
import threading
from collections.abc import Iterator

import pytest
from fake_agent import AGREED, FakeAgent

from liveheap.errors import CommandError, RemoteProtocolError
from liveheap.protocol.auth import Scope
from liveheap.protocol.messages import (
    Cancel,
    Failure,
    Message,
    Progress,
    Request,
    Result,
)
from liveheap.protocol.results import Record
from liveheap_client.caller import Caller
from liveheap_client.errors import ConnectionLost, TimedOut, WorkerGone
from liveheap_client.patience import Patience
from liveheap_client.session import Session

RECORD = Record((("pid", "count", 4711),))


def answer(request: Request) -> Iterator[Message]:
    yield Progress(request.id, "looking", 1, 2)
    yield Result(request.id, RECORD)


def refuse(request: Request) -> Iterator[Message]:
    yield Failure(request.id, "busy", "a snapshot is running", "wait", {"s": 3})


def begin(request: Request) -> Iterator[Message]:
    yield Progress(request.id, "begun")


def say_nothing(_request: Request) -> Iterator[Message]:
    yield from ()


def session(agent: FakeAgent, **patience: object) -> Session:
    return Session(
        agent.transport,
        AGREED,
        patience=Patience(**patience),  # type: ignore[arg-type]
    )


def test_a_request_gives_progress_and_a_result() -> None:
    seen: list[Progress] = []
    with FakeAgent(status=answer) as agent:
        shape = session(agent).request("status", {"a": 1}, on_progress=seen.append)

    assert shape == RECORD
    assert [event.phase for event in seen] == ["looking"]
    assert agent.received == [Request(1, "status", {"a": 1})]


def test_the_agent_s_no_is_raised_with_its_code_and_hint() -> None:
    with FakeAgent(snapshot=refuse) as agent, pytest.raises(CommandError) as caught:
        session(agent).request("snapshot")

    assert (caught.value.code, caught.value.hint) == ("busy", "wait")
    assert caught.value.detail == {"s": 3}


def test_an_agent_that_does_not_know_an_argument_is_said_to_be_older() -> None:
    def not_known(request: Request) -> Iterator[Message]:
        message = "snapshot has no argument 'texts'"
        yield Failure(request.id, "bad-argument", message, "it has: force", {})

    with FakeAgent(snapshot=not_known) as agent, pytest.raises(CommandError) as caught:
        session(agent).request("snapshot", {"texts": True})

    assert "agent is older than this client" in str(caught.value.hint)
    assert "restart the worker" in str(caught.value.hint)


def test_a_session_serves_again_after_a_no() -> None:
    with FakeAgent(snapshot=refuse, status=answer) as agent:
        ours = session(agent)
        with pytest.raises(CommandError):
            ours.request("snapshot")

        assert ours.request("status") == RECORD


def test_a_stream_left_early_is_cancelled_and_the_session_is_clean() -> None:
    with FakeAgent(snapshot=begin, status=answer) as agent:
        ours = session(agent)
        stream = ours.stream("snapshot")
        assert isinstance(next(stream), Progress)
        stream.close()

        assert agent.cancelled.is_set()
        assert ours.request("status") == RECORD
        assert Cancel(1) in agent.received


def test_an_interrupt_cancels_and_passes_on() -> None:
    with FakeAgent(gc=begin) as agent:
        ours = session(agent)

        def interrupt(_event: Progress) -> None:
            signal.raise_signal(signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            ours.request("gc", on_progress=interrupt)

        assert agent.cancelled.is_set()
        assert not ours.closed


def test_silence_is_told_and_then_given_up() -> None:
    told: list[str] = []
    with FakeAgent(status=say_nothing) as agent:
        ours = session(agent, timeout_s=1.5, quiet_s=0.05, say=told.append)
        with pytest.raises(TimedOut, match="GIL") as caught:
            ours.request("status")

    assert told
    assert "GIL" in told[0]
    assert "--timeout" in str(caught.value.hint)
    assert ours.closed


def test_an_agent_that_goes_away_is_a_lost_connection() -> None:
    with FakeAgent(status=say_nothing) as agent:
        ours = session(agent)
        threading.Timer(0.05, agent.end.close).start()
        with pytest.raises(ConnectionLost):
            ours.request("status")

    assert ours.closed


def test_garbage_from_the_agent_ends_the_session() -> None:
    with FakeAgent(status=say_nothing) as agent:
        ours = session(agent)
        agent.end.send(b"\xff\xff\xff\xff garbage")
        with pytest.raises(RemoteProtocolError):
            ours.request("status")

        assert ours.closed


def test_a_caller_keeps_its_session_and_opens_another_for_a_higher_scope() -> None:
    opened: list[Scope] = []
    with FakeAgent(status=answer) as agent:

        def open_session(scope: Scope) -> Session:
            opened.append(scope)
            return session(agent)

        caller = Caller(open_session)
        first = caller.session(Scope.GRAPH)

        assert caller.session(Scope.READ) is first
        assert caller.session(Scope.VALUES) is not first
        assert opened == [Scope.GRAPH, Scope.VALUES]
        caller.hang_up()
        assert first.closed


def test_a_caller_calls_again_after_an_agent_ended_an_idle_session() -> None:
    with FakeAgent() as idle, FakeAgent(status=answer) as agent:
        sessions = iter([session(idle), session(agent)])
        caller = Caller(lambda _scope: next(sessions))
        first = caller.session(Scope.READ)
        idle.end.close()

        assert caller.session(Scope.READ).request("status") == RECORD
        assert first.closed


def test_a_caller_notices_that_another_process_answers() -> None:
    with FakeAgent() as agent:
        first = session(agent)
        second = Session(
            agent.transport,
            type(AGREED)(Scope.GRAPH, 1, "web-3:4712:918999:1", b"\2" * 8),
        )
        sessions = iter([first, second])
        caller = Caller(lambda _scope: next(sessions))
        caller.session(Scope.READ)
        caller.hang_up()

        with pytest.raises(WorkerGone, match="4712"):
            caller.session(Scope.READ)
