"""What a session may take of the worker, and what becomes of our own faults."""

from __future__ import annotations

import json
import socket
import threading
import time
from dataclasses import replace

import pytest
from contract.agent_under_test import session_of
from contract.fake_heap import FakeCount, FakeHeap
from contract.minimal_client import Gone, MinimalClient
from spawn import eventually

from liveheap.agent.codecs import Packer
from liveheap.agent.service import Agent
from liveheap.errors import CommandError
from liveheap.protocol.messages import Cancel, Chunk, Failure, Progress, Request, Result
from liveheap.protocol.results import Record, Table

FAR_MORE_THAN_SOCKETS_HOLD = b"\0" * (64 << 20)


def why_sessions_ended(agent: Agent) -> list[str]:
    with open(agent.audit.path or "", encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    return [line["reason"] for line in lines if line.get("event") == "end"]


@pytest.fixture
def audited(agent: Agent, tmp_path) -> Agent:
    agent.audit.path = str(tmp_path / "audit.log")
    return agent


@pytest.fixture
def incompressible(agent: Agent, monkeypatch) -> None:
    """Send what the heap wrote as it is, so that it fills every buffer on the way."""
    monkeypatch.setattr(agent.codecs, "packer", lambda: Packer(None))


# A heavy command's end.


def test_a_cancel_in_one_piece_with_its_request_is_heard(client, heap):
    heap.raw(b"", written=0)
    request, cancel = Request(1, "snapshot"), Cancel(1)
    client.socket.sendall(
        client.connection.send(request) + client.connection.send(cancel)
    )
    *_, last = client.answers(1)
    assert (type(last), last.code) == (Failure, "cancelled")


def counting(heap: FakeHeap) -> threading.Event:
    """Let a histogram take until somebody looks; return what says that it began."""
    began = threading.Event()

    def count() -> None:
        began.set()
        while True:
            heap.asked[-1][1]["cancelled"]()

    heap.before_histogram = count
    return began


def test_a_histogram_can_be_cancelled_while_it_counts(client, heap):
    began = counting(heap)
    request = client.ask("histogram")
    assert began.wait(30)
    client.cancel(request)
    *_, last = client.answers(request)
    assert last.code == "cancelled"
    assert isinstance(client.request("status"), Record)


def test_a_histogram_ends_when_its_client_is_gone(agent, heap):
    began = counting(heap)
    with session_of(agent) as client:
        client.ask("histogram")
        assert began.wait(30)
    assert agent.heavy.command is None


# A transfer is nobody's burden but its client's.


@pytest.mark.usefixtures("incompressible")
def test_who_only_fetches_keeps_nobody_from_asking(agent, heap, client):
    heap.raw(FAR_MORE_THAN_SOCKETS_HOLD)
    answers = client.answers(client.ask("snapshot"))
    next(each for each in answers if isinstance(each, Chunk))
    with session_of(agent) as other:
        assert isinstance(other.request("gc"), Record)
        assert isinstance(other.request("histogram"), Table)
    assert not heap.walk.closed.is_set()
    assert isinstance(list(answers)[-1], Result)
    assert heap.walk.closed.is_set()


@pytest.mark.usefixtures("incompressible")
def test_a_walk_that_ends_while_its_client_stalls_frees_the_worker(agent, heap):
    heap.raw(FAR_MORE_THAN_SOCKETS_HOLD, written=32 << 20)
    with session_of(agent) as client:
        answers = client.answers(client.ask("snapshot"))
        next(each for each in answers if isinstance(each, Chunk))
        assert agent.heavy.command == "snapshot"
        heap.walk.over.set()
        eventually(lambda: agent.heavy.command is None, what="the worker is free")
        assert not heap.walk.closed.is_set()


@pytest.mark.usefixtures("incompressible")
def test_two_spools_may_wait_for_the_network_and_no_third(agent, heap):
    heap.raw(FAR_MORE_THAN_SOCKETS_HOLD)
    with session_of(agent) as first, session_of(agent) as second:
        for client in (first, second):
            answers = client.answers(client.ask("snapshot"))
            next(each for each in answers if isinstance(each, Chunk))
        with session_of(agent) as third:
            with pytest.raises(CommandError, match="on their way") as refused:
                third.request("snapshot")
            assert refused.value.code == "busy"
            assert refused.value.hint
            first.close()
            eventually(lambda: len(agent.sessions) == 2, what="the first one ends")
            next(iter(third.answers(third.ask("snapshot"))))


@pytest.mark.usefixtures("incompressible")
def test_who_reads_too_slowly_in_the_long_run_is_hung_up_on(audited, heap, monkeypatch):
    monkeypatch.setattr("liveheap.agent.stream.STALL_S", 0)
    monkeypatch.setattr("liveheap.agent.stream.SLOWEST_BYTES_PER_S", 1 << 60)
    heap.raw(FAR_MORE_THAN_SOCKETS_HOLD)
    with session_of(audited) as client:
        answers = client.answers(client.ask("snapshot"))
        with pytest.raises(Gone):
            list(answers)
        assert heap.walk.closed.wait(30)
        eventually(lambda: not audited.sessions, what="the session ends")
    assert "read too slowly" in why_sessions_ended(audited)[0]


def test_the_kernel_bounds_every_wait_of_a_session(agent):
    with session_of(agent):
        [session] = agent.sessions
        sock = session.stream._socket.socket
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            seconds = sock.getsockopt(socket.SOL_SOCKET, option, 16)[0:8]
            assert 0 < int.from_bytes(seconds, "little") <= 900


def test_a_session_has_an_end_however_busy_it_is(audited):
    audited.config = replace(audited.config, max_age=0)
    with session_of(audited) as client, pytest.raises(Gone):
        client.request("status")
    assert "0 s at most" in why_sessions_ended(audited)[0]


# Collections.


def test_a_second_collection_has_to_wait(agent, client):
    client.request("gc")
    with session_of(agent) as other, pytest.raises(CommandError) as refused:
        other.request("gc")
    assert refused.value.code == "busy"
    assert "try again in" in (refused.value.hint or "")
    assert 0 < refused.value.detail["retry_after"] <= 10


def test_a_collection_may_be_asked_for_again_in_time(agent, client):
    client.request("gc")
    agent.config = replace(agent.config, gc_every=0)
    assert client.request("gc").as_dict()["collected"] >= 0


# Faults of our own.


@pytest.mark.parametrize(
    ("engine", "code"), [("x" * 70_000, "too-large"), (object(), "internal")]
)
def test_an_answer_that_cannot_be_sent_is_a_failure_and_not_the_end(
    engine, code, client: MinimalClient, heap: FakeHeap
):
    heap.unsupported = engine
    with pytest.raises(CommandError) as failed:
        client.request("status")
    assert failed.value.code == code
    heap.unsupported = None
    assert isinstance(client.request("status"), Record)


@pytest.mark.parametrize(
    "refusal",
    [
        CommandError("a-code-that-is-none", "no"),
        CommandError("refused", "no", detail={"figures": object()}),
        CommandError("refused", "x" * 70_000),
    ],
    ids=["code", "detail", "size"],
)
def test_a_failure_that_cannot_be_told_is_told_as_a_bug(refusal, client, heap):
    heap.refusal = refusal
    with pytest.raises(CommandError) as failed:
        client.request("histogram")
    assert failed.value.code == "internal"
    assert isinstance(client.request("status"), Record)


def test_a_step_that_cannot_be_sent_ends_its_request_alone(client, heap):
    heap.rows = (FakeCount("shop", "Order", 1, -(1 << 70)),)
    with pytest.raises(CommandError) as failed:
        client.request("histogram")
    assert failed.value.code in ("internal", "too-large")
    heap.rows = ()
    assert isinstance(client.request("histogram"), Table)


def test_a_type_with_an_endless_name_spoils_no_histogram(client, heap):
    heap.rows += (FakeCount("shop", "N" * (1 << 20), 1, 1000),)
    [row, *_] = client.request("histogram").as_dicts()
    assert len(row["type"]) == 256


def test_every_command_is_in_the_audit_log(audited):
    with session_of(audited) as client:
        client.request("status")
        client.request("histogram", top=7)
        with pytest.raises(CommandError):
            client.request("snapshot", max_pause_ms="SECRET")
    with open(audited.audit.path, encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    commands = [line for line in lines if "result" in line]
    assert [line["what"] for line in commands] == ["status", "histogram", "snapshot"]
    assert commands[1]["args"] == {"top": 7}
    assert commands[2]["result"] == "bad-argument"
    assert "SECRET" not in json.dumps(lines)


def test_progress_is_shown_in_moderation(client, heap):
    heap.raw(b"", written=0)
    began = time.monotonic()
    request = client.ask("snapshot")
    shown = (each for each in client.answers(request) if isinstance(each, Progress))
    for _ in range(6):
        next(shown)
    assert time.monotonic() - began >= 0.2
    client.cancel(request)
    list(shown)
