"""Spools that outlive their session: resumed, released, taken over, and bounded."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from contract.agent_under_test import session_of
from contract.fake_heap import FakeHeap, FakeWalk
from contract.minimal_client import Gone, MinimalClient
from spawn import eventually

from liveheap.agent.codecs import Packer
from liveheap.agent.service import Agent
from liveheap.agent.spools import Spools
from liveheap.commands.spooled import Spooled
from liveheap.errors import CommandError, RemoteProtocolError
from liveheap.protocol.auth import Scope
from liveheap.protocol.messages import Chunk, Progress, Result
from liveheap.protocol.results import Blob

PIECE = 1 << 20
LEASE_S = 600.0
RAW = bytes(range(256)) * (10 * PIECE // 256)
LARGE = b"\0" * (64 << 20)


@pytest.fixture(autouse=True)
def incompressible(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send what the heap wrote as it is."""
    monkeypatch.setattr(agent.codecs, "packer", lambda: Packer(None))


@pytest.fixture
def clock(agent: Agent) -> Callable[[float], None]:
    """A clock of the spools' own; call it to let time pass."""
    passed = [0.0]

    def let_pass(seconds: float) -> None:
        passed[0] += seconds

    agent.spools = Spools(
        agent.native,
        agent.config,
        lambda: None,
        clock=lambda: time.monotonic() + passed[0],
    )
    return let_pass


def begin(client: MinimalClient, **args: Any) -> tuple[str, Any]:
    """Ask for a snapshot; return its id, and what comes after its header."""
    answers = client.answers(client.ask("snapshot", **{"lease_s": LEASE_S, **args}))
    header = next(each for each in answers if isinstance(each, Progress))
    return header.detail["snapshot"], answers


def drop_after(agent: Agent, n_chunks: int, **args: Any) -> str:
    """Take some chunks, and vanish; return the id when the spool waits."""
    with session_of(agent) as client:
        spool_id, answers = begin(client, **args)
        seen = 0
        while seen < n_chunks:
            seen += isinstance(next(answers), Chunk)
    assert agent.spools.waiting() == 1
    return spool_id


def rest(agent: Agent, spool_id: str, offset: int) -> tuple[bytes, Blob]:
    """Resume in a session of its own; return the bytes and the result."""
    with session_of(agent) as client:
        _, chunks, shape = client.stream("resume", snapshot=spool_id, offset=offset)
        assert [each.offset for each in chunks[:1]] in ([], [offset])
        raw = b"".join(each.data for each in chunks)
        client.request("release", snapshot=spool_id)
        return raw, shape


@pytest.mark.parametrize("n_pieces", [0, 1, 5, 9])
def test_another_session_goes_on_where_the_first_broke_off(n_pieces, agent, heap):
    heap.raw(RAW)
    spool_id = drop_after(agent, n_pieces)

    raw, blob = rest(agent, spool_id, n_pieces * PIECE)

    assert raw == RAW[n_pieces * PIECE :]
    assert blob.trailer["raw_length"] == len(RAW)
    assert blob.trailer["raw_sha256"] == hashlib.sha256(RAW).hexdigest()
    assert heap.walk.closed.is_set()


def test_a_result_that_got_lost_is_told_again(agent, heap):
    heap.raw(RAW)
    with session_of(agent) as client:
        spool_id, answers = begin(client)
        result = list(answers)[-1]
        assert isinstance(result, Result)
    assert not heap.walk.closed.is_set()

    raw, blob = rest(agent, spool_id, len(RAW))

    assert (raw, blob) == (b"", result.shape)
    assert heap.walk.closed.is_set()


def test_an_offset_within_a_range_is_as_good_as_any(agent, heap):
    heap.raw(RAW)
    spool_id = drop_after(agent, 4)

    raw, blob = rest(agent, spool_id, PIECE + 12345)

    assert raw == RAW[PIECE + 12345 :]
    assert blob.trailer["raw_sha256"] == hashlib.sha256(RAW).hexdigest()


def test_three_drops_running_change_nothing(agent, heap):
    heap.raw(RAW)
    spool_id = drop_after(agent, 1)
    for n_pieces in (2, 3):
        with session_of(agent) as client:
            request = client.ask(
                "resume", snapshot=spool_id, offset=n_pieces * PIECE - PIECE
            )
            next(iter(client.answers(request)))
        assert agent.spools.waiting() == 1

    raw, blob = rest(agent, spool_id, 3 * PIECE)

    assert raw == RAW[3 * PIECE :]
    assert blob.trailer["raw_sha256"] == hashlib.sha256(RAW).hexdigest()


def test_a_walk_may_end_after_its_client_has_gone(agent, heap, monkeypatch):
    monkeypatch.setattr("liveheap.agent.spools.GRACE_S", 30.0)
    heap.raw(RAW, written=2 * PIECE)
    with session_of(agent) as client:
        spool_id, answers = begin(client)
        next(each for each in answers if isinstance(each, Chunk))
        threading.Timer(0.1, heap.walk.over.set).start()
    assert agent.heavy.command is None

    raw, _ = rest(agent, spool_id, PIECE)

    assert raw == RAW[PIECE:]


def test_a_walk_that_goes_on_for_long_ends_with_its_client(agent, heap, monkeypatch):
    monkeypatch.setattr("liveheap.agent.spools.GRACE_S", 0.05)
    heap.raw(RAW, written=2 * PIECE)
    with session_of(agent) as client:
        spool_id, _ = begin(client)
    assert heap.walk.closed.is_set()
    assert agent.spools.waiting() == 0
    refused(agent, spool_id, "no-such-snapshot")


def test_a_walk_that_fails_after_its_client_has_gone_leaves_nothing(agent, heap):
    heap.raw(RAW, written=2 * PIECE)
    heap.walk.complete, heap.walk.reason = False, "the child crashed"
    with session_of(agent) as client:
        begin(client)
        heap.walk.over.set()
    assert heap.walk.closed.is_set()
    assert agent.spools.waiting() == 0


def test_without_a_lease_a_spool_ends_with_its_session(agent, heap):
    heap.raw(RAW)
    with session_of(agent) as client:
        answers = client.answers(client.ask("snapshot"))
        header = next(each for each in answers if isinstance(each, Progress))
        assert "snapshot" not in header.detail
    assert heap.walk.closed.is_set()


def test_a_cancelled_snapshot_is_not_kept(agent, heap):
    heap.raw(LARGE)
    with session_of(agent) as client:
        _, answers = begin(client)
        next(each for each in answers if isinstance(each, Chunk))
        client.cancel(client.last_id)
        *_, last = answers
        assert last.code == "cancelled"
        assert heap.walk.closed.is_set()


def refused(
    agent: Agent, spool_id: str, code: str, scope: Scope = Scope.GRAPH, **args: Any
) -> None:
    with session_of(agent, scope) as client:
        with pytest.raises(CommandError) as caught:
            client.request("resume", snapshot=spool_id, **args)
        assert caught.value.code == code


def test_an_id_that_was_never_given_is_refused(agent, heap):
    heap.raw(RAW)
    spool_id = drop_after(agent, 1)
    for wrong in ("", "0" * 32, spool_id[:-1], spool_id.upper() + " "):
        refused(agent, wrong, "no-such-snapshot")
    assert agent.spools.waiting() == 1


def test_ids_are_of_128_random_bits(agent, heap):
    ids = set()
    for _ in range(3):
        heap.raw(RAW)
        with session_of(agent) as client:
            ids.add(begin(client)[0])
    assert len(ids) == 3
    assert all(len(bytes.fromhex(each)) == 16 for each in ids)


def test_an_offset_beyond_what_was_sent_is_refused(agent, heap):
    heap.raw(RAW)
    spool_id = drop_after(agent, 1)
    refused(agent, spool_id, "bad-argument", offset=1 << 62)


def test_who_has_a_lower_scope_gets_nothing_of_it(agent, heap):
    heap.raw(RAW)
    with session_of(agent, Scope.VALUES) as client:
        spool_id, _ = begin(client)
    refused(agent, spool_id, "scope")
    with session_of(agent) as client, pytest.raises(CommandError) as caught:
        client.request("release", snapshot=spool_id)
    assert caught.value.code == "scope"
    with session_of(agent, Scope.VALUES) as client:
        assert isinstance(client.stream("resume", snapshot=spool_id)[2], Blob)


def test_a_session_that_hangs_on_is_hung_up_on_by_who_comes_back(agent, heap):
    heap.raw(LARGE)
    with session_of(agent) as frozen:
        spool_id, answers = begin(frozen)
        next(each for each in answers if isinstance(each, Chunk))
        with session_of(agent) as again:
            chunk = next(
                each
                for each in again.answers(
                    again.ask("resume", snapshot=spool_id, offset=PIECE)
                )
                if isinstance(each, Chunk)
            )
            assert chunk.offset == PIECE
            with pytest.raises((Gone, RemoteProtocolError)):
                list(answers)


def test_a_lease_that_nobody_uses_ends(agent, heap, clock):
    heap.raw(RAW)
    spool_id = drop_after(agent, 1)
    deadline = agent.spools.next_deadline()
    assert deadline is not None
    clock(LEASE_S - 60)
    agent.spools.sweep()
    assert not heap.walk.closed.is_set()
    clock(60)
    agent.spools.sweep()
    assert heap.walk.closed.is_set()
    assert agent.spools.next_deadline() is None
    refused(agent, spool_id, "no-such-snapshot")


def test_a_lease_begins_anew_with_each_reader(agent, heap, clock):
    heap.raw(RAW)
    spool_id = drop_after(agent, 1)
    clock(LEASE_S - 60)
    with session_of(agent) as client:
        next(iter(client.answers(client.ask("resume", snapshot=spool_id))))
    clock(LEASE_S - 60)
    agent.spools.sweep()
    assert not heap.walk.closed.is_set()


@pytest.mark.parametrize("lease", [0.0, 5.0])
def test_the_worker_s_setting_is_the_longest_lease(lease, agent, heap, clock):
    agent.spools._rails = dataclasses.replace(agent.config, spool_lease=lease)
    heap.raw(RAW)
    with session_of(agent) as client:
        answers = client.answers(client.ask("snapshot", lease_s=LEASE_S))
        header = next(each for each in answers if isinstance(each, Progress))
        assert ("snapshot" in header.detail) == (lease > 0)
    clock(6)
    agent.spools.sweep()
    assert heap.walk.closed.is_set()


def test_a_client_that_never_reads_meets_the_end_of_its_lease(
    agent, heap, clock, monkeypatch
):
    monkeypatch.setattr("liveheap.agent.stream.STALL_S", 0)
    heap.raw(LARGE)
    with session_of(agent) as client:
        client.ask("snapshot", lease_s=LEASE_S)
        eventually(lambda: not agent.sessions, what="the session ends by itself")
        assert agent.spools.waiting() == 1
    clock(LEASE_S + 1)
    agent.spools.sweep()
    assert heap.walk.closed.is_set()


def dropped_walks(agent: Agent, heap: FakeHeap, count: int) -> list[FakeWalk]:
    walks = []
    for _ in range(count):
        heap.raw(RAW)
        with session_of(agent) as client:
            begin(client)
        walks.append(heap.walk)
    return walks


def test_a_new_snapshot_takes_the_place_of_the_one_that_waits_longest(agent, heap):
    walks = dropped_walks(agent, heap, agent.config.max_spools + 1)
    assert [walk.closed.is_set() for walk in walks] == [True, False, False]
    assert agent.spools.waiting() == agent.config.max_spools


def test_those_that_wait_are_bounded_in_bytes(agent, heap, monkeypatch):
    monkeypatch.setattr("liveheap.agent.spools.MOST_KEPT_BYTES", len(RAW) + 1)
    walks = dropped_walks(agent, heap, 2)
    assert [walk.closed.is_set() for walk in walks] == [True, False]
    monkeypatch.setattr("liveheap.agent.spools.MOST_KEPT_BYTES", len(RAW) - 1)
    [too_large] = dropped_walks(agent, heap, 1)
    assert too_large.closed.is_set()


def test_status_counts_those_that_wait(agent, heap):
    with session_of(agent) as client:
        assert "spools" not in client.request("status").as_dict()
        drop_after(agent, 1)
        assert client.request("status").as_dict()["spools"] == 1


def test_an_agent_that_ends_keeps_nothing(agent, heap):
    [waiting] = dropped_walks(agent, heap, 1)
    heap.raw(LARGE)
    with session_of(agent) as client:
        begin(client)
        agent.close()
        assert waiting.closed.is_set()
        assert heap.walk.closed.wait(30)
    assert agent.spools.waiting() == 0


def test_nothing_is_kept_by_an_agent_that_ends_while_a_client_leaves(
    agent, heap, monkeypatch
):
    spools, lock, settle = agent.spools, agent.spools._lock, Spooled.settle

    class EndsFirst:
        """Whoever wants the lock next finds that the agent has ended meanwhile."""

        def __enter__(self) -> None:
            monkeypatch.setattr(spools, "_lock", lock)
            spools.close()
            lock.acquire()

        def __exit__(self, *_: object) -> None:
            lock.release()

    def settle_last(self: Spooled, wanted: Callable[[], bool]) -> int | None:
        n_bytes = settle(self, wanted)
        monkeypatch.setattr(spools, "_lock", EndsFirst())
        return n_bytes

    monkeypatch.setattr(Spooled, "settle", settle_last)
    [walk] = dropped_walks(agent, heap, 1)
    assert walk.closed.wait(30)
    assert spools.waiting() == 0


def test_no_id_stands_in_the_audit_log(agent, heap, tmp_path):
    agent.audit.path = str(tmp_path / "audit.log")
    heap.raw(RAW)
    spool_id = drop_after(agent, 1)
    rest(agent, spool_id, PIECE)
    log = (tmp_path / "audit.log").read_text()
    assert '"resume"' in log
    assert spool_id not in log
