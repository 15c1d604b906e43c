"""The bridge's relay over real sockets and pipes, and its words."""

import contextlib
import errno
import os
import select
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from spawn import eventually

from liveheap.errors import AuthenticationError
from liveheap.protocol.auth import Agreed, Scope
from liveheap_client import bridge
from liveheap_client.errors import ConnectError, TimedOut, UsageError
from liveheap_client.transport import relay as transport_relay

BIG = os.urandom(1 << 20) * 3


class Relay:
    """A running relay and the four ends a test holds."""

    def __init__(self, trailing: bytes = b"") -> None:
        self.agent, ours = socket.socketpair()
        self._stdin, self._client_writes = os.pipe()
        self._client_reads, self._stdout = os.pipe()
        self.agent.settimeout(60)
        self._thread = threading.Thread(
            target=self._run, args=(ours, trailing), daemon=True
        )
        self._thread.start()

    def _run(self, ours: socket.socket, trailing: bytes) -> None:
        bridge.relay(ours, trailing, stdin=self._stdin, stdout=self._stdout)
        os.close(self._stdout)

    def write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._client_writes, data) :]

    def end_writing(self) -> None:
        os.close(self._client_writes)
        self._client_writes = -1

    def read(self, length: int) -> bytes:
        data = b""
        while len(data) < length and (more := os.read(self._client_reads, 1 << 16)):
            data += more
        return data

    def stop_reading(self) -> None:
        os.close(self._client_reads)
        self._client_reads = -1

    def wait(self) -> None:
        self._thread.join(10)
        assert not self._thread.is_alive()

    def close(self) -> None:
        self.agent.close()
        for descriptor in (self._client_writes, self._client_reads):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self.wait()
        os.close(self._stdin)  # the relay's until it has ended


@pytest.fixture
def relay() -> Iterator[Relay]:
    relay = Relay()
    yield relay
    relay.close()


def received(sock: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length and (more := sock.recv(1 << 16)):
        data += more
    return data


def test_bytes_pass_both_ways_unchanged(relay: Relay) -> None:
    writer = threading.Thread(target=relay.write, args=(BIG,))
    writer.start()
    assert received(relay.agent, len(BIG)) == BIG
    writer.join()

    sender = threading.Thread(target=relay.agent.sendall, args=(BIG,))
    sender.start()
    assert relay.read(len(BIG)) == BIG
    sender.join()


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EPERM])
def test_where_the_kernel_moves_nothing_itself_bytes_pass_all_the_same(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_arguments: object, **_more: object) -> int:
        raise OSError(number, "no splice here")

    monkeypatch.setattr(os, "splice", refused)
    assert passed(b"trailing") == b"trailing" + BIG


def test_where_python_knows_no_splice_bytes_pass_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "splice")
    assert passed(b"trailing") == b"trailing" + BIG


def test_where_no_pipe_may_be_large_bytes_pass_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_arguments: object) -> int:
        raise PermissionError(errno.EPERM, "too many large pipes")

    monkeypatch.setattr("fcntl.fcntl", refused)
    assert passed(b"trailing") == b"trailing" + BIG


def test_what_trails_the_handshake_comes_before_what_the_kernel_moves() -> None:
    assert passed(b"trailing") == b"trailing" + BIG


def test_a_client_that_waits_before_it_reads_gets_all_and_costs_no_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns = []
    wait = transport_relay._wait

    def counting(*arguments: object) -> object:
        turns.append(1)
        return wait(*arguments)

    monkeypatch.setattr(transport_relay, "_wait", counting)
    relay = Relay()
    sender = threading.Thread(target=relay.agent.sendall, args=(BIG,))
    sender.start()
    eventually(lambda: is_full(relay), what="the pipe is full")

    def rests() -> bool:
        seen = len(turns)
        time.sleep(0.2)
        return len(turns) - seen < 10

    eventually(rests, what="it waits, once what lies on the way is full, too")
    assert relay.read(len(BIG)) == BIG
    sender.join(10)
    relay.close()


def is_full(relay: Relay) -> bool:
    """Whether the relay's pipe to the client takes no more."""
    return not select.select([], [relay._stdout], [], 0)[1]


def passed(trailing: bytes) -> bytes:
    """Have an agent send much, and close; return what its client got."""
    relay = Relay(trailing)
    sender = threading.Thread(target=relay.agent.sendall, args=(BIG,))
    sender.start()
    data = relay.read(len(trailing) + len(BIG))
    sender.join(10)
    relay.agent.close()
    assert relay.read(1) == b""
    relay.close()
    return data


def test_end_of_stdin_is_a_half_close_and_answers_still_come(relay: Relay) -> None:
    relay.write(b"last words")
    relay.end_writing()

    assert received(relay.agent, 100) == b"last words"
    relay.agent.sendall(b"answer")
    assert relay.read(6) == b"answer"


def test_end_of_the_agent_ends_the_bridge_after_all_was_passed_on(
    relay: Relay,
) -> None:
    sender = threading.Thread(target=relay.agent.sendall, args=(BIG,))
    sender.start()
    data = relay.read(len(BIG) - 1)
    sender.join()
    relay.agent.close()

    assert data + relay.read(1 << 20) == BIG
    relay.wait()


def test_a_client_that_is_gone_ends_the_bridge(relay: Relay) -> None:
    relay.stop_reading()

    relay.wait()
    assert relay.agent.recv(1) == b""


def test_what_the_handshake_left_over_comes_first() -> None:
    relay = Relay(trailing=b"early")
    try:
        relay.agent.sendall(b" late")
        assert relay.read(10) == b"early late"
    finally:
        relay.close()


def test_the_greeting_says_who_answers() -> None:
    agreed = Agreed(Scope.GRAPH, 1, "web:1:2:x", b"\1" * 8)

    assert bridge.greeting(agreed) == {
        "bridge": 1,
        "ident": "web:1:2:x",
        "scope": 2,
        "version": 1,
        "session": "01" * 8,
    }


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AuthenticationError("wrong token"), "authentication"),
        (UsageError("two workers"), "choose"),
        (TimedOut("not answering"), "not-answering"),
        (ConnectError("nobody"), "connect"),
    ],
)
def test_every_failure_has_a_code(error: Exception, code: str) -> None:
    told = bridge.failure(error)  # type: ignore[arg-type]

    assert told["error"] == code
    assert told["message"] == str(error)
