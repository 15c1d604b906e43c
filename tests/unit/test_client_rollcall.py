"""One question to many agents: who answers, who is silent, who says no."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from liveheap import registry, tokens
from liveheap.errors import LiveheapError
from liveheap.protocol.auth import AgentHandshake, Ident, Scope
from liveheap.protocol.connection import NEED_DATA, Connection
from liveheap.protocol.messages import Failure, Request, Result, Role
from liveheap.protocol.results import Column, Table
from liveheap.registry import Entry
from liveheap_client.rollcall import RollCall
from liveheap_client.workers import Worker

PID, BEGAN = os.getpid(), registry.start_time(os.getpid()) or 0
TABLE = Table((Column("task", "text"),), (("shop.pay",),))
SOON_S = 1.5

Serve = Callable[[socket.socket, bytes], object]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A run directory with a token."""
    run_dir = tmp_path / "run"
    run_dir.mkdir(mode=0o700)
    environ = {"LIVEHEAP_DIR": str(run_dir)}
    tokens.ensure_token(environ, run_dir)
    return environ


@pytest.fixture
def agent(environ: dict[str, str]) -> Iterator[Callable[[int, Serve | None], Worker]]:
    """Make an agent of a pid that serves its connections in a way; None: not at all."""
    token = tokens.find_token(environ)
    with ExitStack() as held:

        def make(pid: int, serve: Serve | None) -> Worker:
            path = Path(environ["LIVEHEAP_DIR"]) / f"{pid}-{BEGAN}.sock"
            listener = held.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(path))
            listener.listen(4)
            if serve is not None:
                thread = threading.Thread(target=accepting, args=(listener, serve))
                held.callback(thread.join, 10)
                held.callback(listener.shutdown, socket.SHUT_RDWR)
                thread.start()
            return Worker(Entry(pid, BEGAN, path), None, None)

        def accepting(listener: socket.socket, serve: Serve) -> None:
            with suppress(OSError):
                while True:
                    connected, _ = listener.accept()
                    with connected, suppress(LiveheapError):  # the client leaves
                        serve(connected, token)

        yield make


def shake(connected: socket.socket, token: bytes, pid: int) -> Connection:
    """Do the agent's half of the handshake."""
    ident = Ident("here", pid, BEGAN, "1")
    handshake = AgentHandshake(lambda: token, ident, Scope.READ)
    while not handshake.done:
        handshake.receive(connected.recv(handshake.wanted))
        connected.sendall(handshake.data_to_send())
    return Connection(Role.AGENT, agreed=handshake.result)


def answering(pid: int, *, answers: int = 99, knows: bool = True) -> Serve:
    """Serve a session that ends after so many answers."""

    def serve(connected: socket.socket, token: bytes) -> None:
        connection = shake(connected, token, pid)
        for _ in range(answers):
            while (event := connection.next_event()) is NEED_DATA:
                connection.receive_data(connected.recv(4096))
            if not isinstance(event, Request):
                return
            no = Failure(event.id, "unknown-command", "what?")
            connected.sendall(connection.send(Result(event.id, TABLE) if knows else no))

    return serve


def garbage(connected: socket.socket, _token: bytes) -> None:
    connected.recv(64)
    connected.sendall(b"HTTP/1.1 400 Bad Request\r\n" * 9)


def test_who_answers_is_told_and_who_does_not_holds_up_nobody(
    agent: Any, environ: dict[str, str]
) -> None:
    workers = [agent(1, answering(1)), agent(2, None), agent(3, answering(3))]

    with RollCall(environ) as roll:
        began = time.monotonic()
        told = roll.ask(workers, "tasks", deadline_s=SOON_S)
        took = time.monotonic() - began

        assert told == {(1, BEGAN): TABLE, (3, BEGAN): TABLE}
        assert not roll.refused
        assert SOON_S <= took < 20 + SOON_S


def test_who_hangs_up_or_talks_nonsense_says_no(
    agent: Any, environ: dict[str, str]
) -> None:
    rude = agent(1, lambda connected, token: None)
    strange = agent(2, garbage)
    other = agent(3, answering(4))
    gone = agent(5, None)
    gone.entry.socket.unlink()

    with RollCall(environ) as roll:
        told = roll.ask([rude, strange, other, gone], "tasks", deadline_s=20)

        assert told == {}
        assert roll.refused == {(pid, BEGAN) for pid in (1, 2, 3, 5)}


def test_an_agent_that_does_not_know_the_question_answers_all_the_same(
    agent: Any, environ: dict[str, str]
) -> None:
    with RollCall(environ) as roll:
        told = roll.ask([agent(1, answering(1, knows=False))], "tasks", deadline_s=20)

    assert told == {(1, BEGAN): None}


def test_a_session_is_used_again_and_made_anew_when_the_agent_has_ended_it(
    agent: Any, environ: dict[str, str]
) -> None:
    sessions = []
    two_answers = answering(1, answers=2)

    def counted(connected: socket.socket, token: bytes) -> None:
        sessions.append(connected)
        two_answers(connected, token)

    worker = agent(1, counted)
    with RollCall(environ) as roll:
        looks = [roll.ask([worker], "tasks", deadline_s=20) for _ in range(2)]
        call = next(iter(roll._calls.values()))
        while not call.has_ended:
            time.sleep(0.01)
        looks += [roll.ask([worker], "tasks", deadline_s=20) for _ in range(2)]

    assert looks == [{(1, BEGAN): TABLE}] * 4
    assert len(sessions) == 2


def test_who_is_no_longer_listed_is_left(agent: Any, environ: dict[str, str]) -> None:
    first, second = agent(1, answering(1)), agent(2, answering(2))

    with RollCall(environ) as roll:
        roll.ask([first, second], "tasks", deadline_s=20)
        told = roll.ask([second], "tasks", deadline_s=20)

        assert set(told) == {(2, BEGAN)}
        assert set(roll._calls) == {(2, BEGAN)}
