"""A newer client meets recorded older peers: the whole way, from target to result.

`tests/data/peer-v1-*.hex` hold what an agent of protocol 1 said, byte by byte. They are
played back to today's Session, which is made to believe that it speaks protocol 2.
"""

import functools
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgpack
import pytest
from peers import CNONCE, TOKEN, agent_side, read_recording

from liveheap.errors import AuthenticationError
from liveheap.protocol.auth import ClientHandshake, Scope
from liveheap.protocol.messages import Chunk, Progress, Result
from liveheap.protocol.results import Blob, Record, Table
from liveheap_client import dial, reach, session
from liveheap_client import target as targets
from liveheap_client.dial import DialOptions
from liveheap_client.errors import TransportError, exit_code
from liveheap_client.patience import Patience
from liveheap_client.reach import Reach
from liveheap_client.render import failure
from liveheap_client.session import Session
from liveheap_client.transport.memory import MemoryTransport, pair

CANNOT_CONNECT = 3
HANDSHAKE_LINES = 4
OLDER_AGENT = "peer-v1-agent-newer-client.hex"


class RecordedAgent:
    """Answers each recorded message with the recorded bytes, and nothing else."""

    def __init__(self, recording: list[tuple[str, bytes]]) -> None:
        self.transport, self._own = pair()
        self._answers = _answers(recording)
        self.unknown: list[bytes] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while said := self._own.receive(timeout=60):
            if said not in self._answers:
                self.unknown.append(said)
                self._own.end_sending()
                return
            for answer in self._answers[said]:
                try:
                    self._own.send(answer)
                except TransportError:
                    return

    def join(self) -> None:
        self._thread.join(10)
        assert not self._thread.is_alive()


def _answers(recording: list[tuple[str, bytes]]) -> dict[bytes, list[bytes]]:
    """Return what the agent said to each thing that the client said."""
    answers: dict[bytes, list[bytes]] = {}
    asked: dict[object, bytes] = {}
    last = b""
    for line, (who, said) in enumerate(recording):
        about = None if line < HANDSHAKE_LINES else msgpack.unpackb(said[4:])["id"]
        if who == "client":
            asked[about] = last = said
            answers[said] = []
        else:
            answers[asked.get(about, last)].append(said)
    return answers


def newer_client(
    monkeypatch: pytest.MonkeyPatch, transport: MemoryTransport, **handshake: int
) -> list[str]:
    """Let clients speak protocol 2 over this transport; return where they talk."""
    own = functools.partial(ClientHandshake, nonce=CNONCE, **handshake)
    monkeypatch.setattr(reach, "ClientHandshake", own)
    monkeypatch.setattr(reach.credentials, "find", lambda *_args: TOKEN)
    monkeypatch.setattr(reach.unix, "check", lambda *_args: None)
    monkeypatch.setattr(reach.unix, "connect", lambda *_args, **_more: transport)
    monkeypatch.setattr(dial, "Reach", functools.partial(Reach, max_version=2))
    monkeypatch.setattr(session, "VERSION", 2)
    return []


def open_session(told: list[str]) -> Session:
    options = DialOptions(environ={}, patience=Patience(timeout_s=10, say=told.append))
    target = targets.parse(f"unix:{Path('/somewhere/agent.sock')}")
    return Session.open(target, scope=Scope.GRAPH, options=options)


@pytest.fixture
def older() -> Iterator[RecordedAgent]:
    agent = RecordedAgent(read_recording(OLDER_AGENT))
    yield agent
    agent.transport.close()
    agent.join()


def test_a_newer_client_works_with_a_recorded_older_agent_and_says_so(
    monkeypatch: pytest.MonkeyPatch, older: RecordedAgent
) -> None:
    told = newer_client(monkeypatch, older.transport)

    with open_session(told) as ours:
        status = ours.request("status")
        with closing(
            ours.stream("snapshot", {"force": True, "max_pause_ms": 100.5})
        ) as events:
            first, second = next(events), next(events)
        table = ours.request("histogram", {"limit": 2})
        *_, last = ours.stream("snapshot")

    assert ours.agreed.version == 1
    assert told == [
        "unix:/somewhere/agent.sock speaks protocol 1; this client would speak 2: "
        "some answers may lack something"
    ]
    assert isinstance(status, Record)
    assert status.as_dict() == {"pid": 4711, "rss": 104857600}
    assert isinstance(first, Progress)
    assert isinstance(second, Chunk)
    assert isinstance(table, Table)
    assert table.as_dicts()[0] == {"type": "dict", "count": 12}
    assert isinstance(last, Result)
    assert isinstance(last.shape, Blob)
    assert older.unknown == []


def test_a_client_that_left_protocol_1_behind_says_which_side_is_too_old(
    monkeypatch: pytest.MonkeyPatch, older: RecordedAgent
) -> None:
    told = newer_client(monkeypatch, older.transport, min_version=2)

    with pytest.raises(AuthenticationError) as caught:
        open_session(told)

    assert list(failure.lines(caught.value)) == [
        "liveheap: the agent speaks protocol 1, this client 2 to 2",
        "hint: use a newer liveheap in the worker",
    ]
    assert exit_code(caught.value) == CANNOT_CONNECT


def test_an_agent_that_left_our_protocol_behind_is_told_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = pair()
    told = newer_client(monkeypatch, ours)
    agent = agent_side(min_version=3, max_version=4)

    def refuse() -> None:
        with pytest.raises(AuthenticationError):
            agent.receive(theirs.receive(timeout=60))
        theirs.send(agent.data_to_send())
        theirs.close()

    thread = threading.Thread(target=refuse)
    thread.start()
    with pytest.raises(AuthenticationError) as caught:
        open_session(told)
    thread.join(10)

    what, hint = failure.lines(caught.value)
    assert "speaks protocol 3 or newer, this client at most 2" in what
    assert hint == "hint: use a newer liveheap on this side"
    assert exit_code(caught.value) == CANNOT_CONNECT
