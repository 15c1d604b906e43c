"""Every command over a session: happy, bad argument, cancel, peer vanishes."""

from __future__ import annotations

import gc
import hashlib
import socket
from collections.abc import Iterator

import pytest
from contract.agent_under_test import session_of
from contract.fake_heap import FakeCount, FakeHeap
from contract.minimal_client import MinimalClient, raw_of

from liveheap.agent.service import Agent
from liveheap.commands import COMMANDS, Command
from liveheap.errors import CommandError
from liveheap.protocol.auth import Scope
from liveheap.protocol.messages import Cancel, Chunk, Failure, Progress, Request, Result
from liveheap.protocol.results import Blob, Record, Table

EVERY = pytest.mark.parametrize(
    "command", COMMANDS, ids=[command.name for command in COMMANDS]
)


CALM = ("cancelled", "refused", "no-such-snapshot")
FORCED = {"detach": {"force": True}}
FIRST = {"clone-ask": "clone", "clone-complete": "clone"}


@pytest.fixture
def client(agent: Agent, request: pytest.FixtureRequest) -> Iterator[MinimalClient]:
    """A client of scope graph, or of the scope that the test's command needs."""
    command = getattr(request.node, "callspec", None) and request.node.callspec.params
    needed = getattr((command or {}).get("command"), "scope", Scope.GRAPH)
    with session_of(agent, max(needed, Scope.GRAPH)) as client:
        yield client


@EVERY
def test_a_command_answers(command: Command, client: MinimalClient):
    args = FORCED.get(command.name, {})
    if command.name == "resume":  # what there is to resume: test_agent_spools.py
        return
    if command.name in FIRST:
        client.request(FIRST[command.name])
    assert isinstance(client.request(command.name, **args), (Record, Table, Blob))


@EVERY
def test_a_command_refuses_an_argument_it_does_not_know(
    command: Command, client: MinimalClient
):
    with pytest.raises(CommandError) as refused:
        client.request(command.name, colour="red")
    assert refused.value.code == "bad-argument"
    assert "colour" in str(refused.value)
    assert isinstance(client.request("status"), Record)


@pytest.mark.parametrize(
    ("command", "param"),
    [(command, param) for command in COMMANDS for param in command.params],
    ids=lambda each: each.name,
)
def test_an_argument_of_the_wrong_type_is_refused(command, param, client):
    for wrong in ([], {}, None, "text" if param.type is not str else 5):
        with pytest.raises(CommandError) as refused:
            client.request(command.name, **{param.name: wrong})
        assert refused.value.code == "bad-argument"


@pytest.mark.parametrize(
    ("command", "args"),
    [
        ("histogram", {"top": 0}),
        ("histogram", {"top": 10**9}),
        ("histogram", {"top": True}),
        ("snapshot", {"timeout_s": 0}),
        ("snapshot", {"max_pause_ms": -1.0}),
        ("snapshot", {"gc": 1}),
    ],
)
def test_an_argument_out_of_bounds_is_refused(command, args, client, heap):
    with pytest.raises(CommandError) as refused:
        client.request(command, **args)
    assert refused.value.code == "bad-argument"
    assert heap.asked == []


@EVERY
def test_a_command_of_a_higher_scope_is_refused(command: Command, agent: Agent):
    with session_of(agent, Scope.READ) as client:
        if command.scope <= Scope.READ:
            client.request(command.name, **FORCED.get(command.name, {}))
            return
        with pytest.raises(CommandError) as refused:
            client.request(command.name)
        assert refused.value.code == "scope"


@EVERY
def test_a_bug_in_a_command_ends_the_request_and_nothing_else(
    command: Command, client: MinimalClient, heap: FakeHeap, monkeypatch
):
    def explode(*_: object, **__: object) -> None:
        raise RuntimeError("SECRET value in a message")

    heap.bug = RuntimeError("SECRET value in a message")
    monkeypatch.setattr("liveheap.agent.service.Agent.facts", explode)
    monkeypatch.setattr("liveheap.agent.service.Agent.figures", explode)
    monkeypatch.setattr("liveheap.deltas.Deltas.by_name", explode)
    monkeypatch.setattr("liveheap.agent.mainthread.MainThread.run", explode)
    monkeypatch.setattr("liveheap.agent.context.AgentContext.leave", explode)
    monkeypatch.setattr("liveheap.agent.context.AgentContext.switch_off", explode)
    monkeypatch.setattr("liveheap.agent.spools.Spools._find", explode)
    monkeypatch.setattr("liveheap.agent.context.AgentContext.made_clone", explode)
    monkeypatch.setattr("liveheap.agent.context.AgentContext.console", explode)
    with pytest.raises(CommandError) as failed:
        client.request(command.name)
    assert failed.value.code == "internal"
    assert "RuntimeError" in str(failed.value)
    assert "SECRET" not in str(failed.value)
    with pytest.raises(CommandError, match="no command"):
        client.request("nonsense")


@EVERY
def test_a_command_whose_client_vanishes_at_once_leaves_nothing(
    command: Command, agent: Agent, heap: FakeHeap
):
    with session_of(agent) as client:
        client.ask(command.name)
    assert agent.sessions == set()
    assert agent.heavy.command is None
    assert all(
        heap.walk.closed.is_set() for what, _ in heap.asked if what == "snapshot"
    )


@EVERY
def test_a_command_cancelled_at_once_ends_with_one_answer(
    command: Command, client: MinimalClient
):
    both = Request(1, command.name), Cancel(1)  # in one piece: some end the session
    client.last_id = 1
    client.socket.sendall(b"".join(map(client.connection.send, both)))
    last = list(client.answers(1))[-1]
    assert isinstance(last, Result) or (isinstance(last, Failure) and last.code in CALM)
    assert isinstance(client.request("status"), Record)


def test_an_unknown_command_is_named_and_the_known_ones_are_listed(client):
    with pytest.raises(CommandError) as refused:
        client.request("../etc")
    assert refused.value.code == "unknown-command"
    allowed = [each.name for each in COMMANDS if each.scope <= Scope.GRAPH]
    assert all(name in (refused.value.hint or "") for name in allowed)


def test_status_says_who_the_worker_is(client, agent):
    facts = client.request("status").as_dict()
    assert facts["pid"] == agent.identity.pid
    assert facts["engine"] == "ok"
    assert facts["scope_ceiling"] == "graph"
    assert facts["sessions"] == 1
    assert facts["rss"] > 1 << 20
    assert facts["instance"] == agent.identity.instance


def test_status_says_why_the_engine_does_not_work(client, heap):
    heap.unsupported = "free-threaded build"
    assert client.request("status").as_dict()["engine"] == "free-threaded build"


def test_histogram_sorts_by_bytes_and_cuts(client, heap):
    heap.rows += (FakeCount("shop", "Basket", 1, 400),)
    table = client.request("histogram", top=2)
    assert table.as_dicts() == [
        {"type": "shop.Order", "count": 5, "bytes": 500},
        {"type": "shop.Basket", "count": 1, "bytes": 400},
    ]


@pytest.fixture
def no_collections() -> Iterator[None]:
    """Have the interpreter collect nothing by itself."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collections")
def test_gc_collects_on_a_thread_that_it_names(client, heap):
    class Cycle:
        pass

    gc.collect()
    cycle = Cycle()
    cycle.myself = cycle  # type: ignore[attr-defined]
    del cycle
    facts = client.request("gc").as_dict()
    assert facts["via"] == "agent"
    assert facts["collected"] >= 1
    assert facts["uncollectable"] == 0


@pytest.mark.usefixtures("no_collections")
def test_a_pending_call_that_comes_too_late_collects_nothing_twice(client, heap):
    client.request("gc")
    before = gc.get_stats()[2]["collections"]
    for call in heap.pending:
        call()
    assert gc.get_stats()[2]["collections"] == before


def test_snapshot_streams_ranges_that_join_to_the_raw_bytes(client, heap):
    raw = bytes(range(256)) * 10_000
    heap.raw(raw)
    steps, chunks, blob = client.stream("snapshot")
    joined = b"".join(map(raw_of, chunks))
    assert joined == raw
    assert [chunk.offset for chunk in chunks] == [0, 1 << 20, 2 << 20]
    assert blob.trailer["raw_sha256"] == hashlib.sha256(raw).hexdigest()
    assert blob.trailer["raw_length"] == len(raw)
    assert blob.trailer["complete"] is True
    assert steps[0].detail["header"] == blob.header
    assert blob.header["scope"] == "graph"
    assert heap.walk.closed.is_set()


def test_snapshot_begins_to_send_while_the_child_still_walks(client, heap):
    heap.raw(b"y" * (3 << 20), written=(1 << 20) + 5)
    request = client.ask("snapshot")
    answers = client.answers(request)
    first = next(each for each in answers if isinstance(each, Chunk))
    assert (first.offset, first.raw_length) == (0, 1 << 20)
    assert not heap.walk.over.is_set()
    heap.walk.over.set()
    rest = list(answers)
    assert sum(each.raw_length for each in rest if isinstance(each, Chunk)) == 2 << 20
    assert isinstance(rest[-1], Result)


def test_snapshot_sends_the_rest_while_the_child_only_ends(client, heap):
    heap.raw(b"y" * 1000, written=1000)
    heap.walk.all_written = True
    request = client.ask("snapshot")
    answers = client.answers(request)
    first = next(each for each in answers if isinstance(each, Chunk))
    assert (first.offset, first.raw_length) == (0, 1000)
    assert not heap.walk.over.is_set()
    heap.walk.over.set()
    assert isinstance(list(answers)[-1], Result)


def test_snapshot_cancelled_while_the_child_walks_ends_the_child(client, heap):
    heap.raw(b"", written=0)
    request = client.ask("snapshot")
    answers = client.answers(request)
    next(each for each in answers if isinstance(each, Progress))
    client.cancel(request)
    last = list(answers)[-1]
    assert isinstance(last, Failure)
    assert last.code == "cancelled"
    assert heap.walk.closed.is_set()
    assert isinstance(client.request("status"), Record)


def test_snapshot_whose_client_vanishes_in_the_middle_ends_the_child(agent, heap):
    heap.raw(b"z" * (8 << 20), written=2 << 20)
    with session_of(agent) as client:
        request = client.ask("snapshot")
        next(each for each in client.answers(request) if isinstance(each, Chunk))
    assert heap.walk.closed.wait(30)
    assert agent.heavy.command is None


def test_snapshot_sent_to_a_half_closed_client_ends_too(agent, heap):
    heap.raw(b"", written=0)
    with session_of(agent) as client:
        request = client.ask("snapshot")
        next(each for each in client.answers(request) if isinstance(each, Progress))
        client.socket.shutdown(socket.SHUT_WR)
        assert heap.walk.closed.wait(30)


@pytest.mark.parametrize(
    ("reason", "code", "hint"),
    [
        ("timeout: the walk was not done after 1 s", "timeout", "--timeout-s"),
        ("spool-full: the spool reached its limit", "failed", "LIVEHEAP_SPOOL"),
        ("out of memory: the walk could not map", "failed", "histogram"),
        ("the child was killed from outside (SIGKILL)", "failed", "try again"),
        ("more types than the walker has room for", "failed", "try again"),
    ],
)
def test_a_walk_that_was_cut_short_is_a_failure_with_a_hint(
    reason, code, hint, client, heap
):
    heap.walk.complete, heap.walk.reason = False, reason
    request = client.ask("snapshot")
    *_, last = client.answers(request)
    assert isinstance(last, Failure)
    assert (last.code, last.message) == (code, reason)
    assert hint in (last.hint or "")


def test_a_walk_that_wrote_nothing_is_a_failure(client, heap):
    heap.raw(b"")
    heap.walk.reason = "killed by signal 9"
    with pytest.raises(CommandError, match="signal 9") as failed:
        client.request("snapshot")
    assert failed.value.code == "failed"
    assert heap.walk.closed.is_set()


def test_a_refusal_of_the_engine_reaches_the_client_with_its_hint(client, heap):
    heap.refusal = CommandError("refused", "too little memory", hint="--force")
    for command in ("snapshot", "histogram"):
        with pytest.raises(CommandError, match="too little memory") as refused:
            client.request(command)
        assert (refused.value.code, refused.value.hint) == ("refused", "--force")


def test_a_snapshot_passes_its_arguments_on(client, heap):
    client.request("snapshot", max_pause_ms=5, force=True, timeout_s=7)
    [(_, options)] = heap.asked
    assert options["max_pause_ms"] == 5.0
    assert options["force"] is True
    assert options["timeout_s"] == 7.0
    assert len(options["own_threads"]) == 2  # the kernel's id of one, and Python's


@pytest.mark.parametrize("texts", [False, True])
def test_a_snapshot_says_in_its_header_whether_it_has_hashes(client, heap, texts):
    blob = client.request("snapshot", texts=texts)
    [(_, options)] = heap.asked
    assert options["texts"] is texts
    assert blob.header.get("texts", False) is texts
    assert ("texts" in blob.header) is texts


def test_the_second_heavy_command_is_told_who_runs(agent, heap, client):
    heap.raw(b"", written=0)
    request = client.ask("snapshot")
    answers = client.answers(request)
    next(each for each in answers if isinstance(each, Progress))
    with session_of(agent) as other:
        for command in ("histogram", "gc", "snapshot"):
            with pytest.raises(CommandError) as refused:
                other.request(command)
            assert refused.value.code == "busy"
            assert refused.value.detail["command"] == "snapshot"
        assert other.request("status").as_dict()["heavy"] == "snapshot"
        client.cancel(request)
        list(answers)
        assert isinstance(other.request("gc"), Record)


def test_a_second_request_of_the_same_session_is_told_busy(client, heap):
    heap.raw(b"", written=0)
    first = client.ask("snapshot")
    next(each for each in client.answers(first) if isinstance(each, Progress))
    second = client.ask("status")
    assert [each.code for each in client.answers(second)] == ["busy"]
    client.cancel(first)
    list(client.answers(first))
