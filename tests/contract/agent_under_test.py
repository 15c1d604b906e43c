"""An agent over a fake heap, in this process, and clients on socket pairs."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from contract.fake_heap import FakeHeap
from contract.minimal_client import MinimalClient
from spawn import eventually

from liveheap.agent import config, native
from liveheap.agent.codecs import Codecs
from liveheap.agent.service import Agent
from liveheap.agent.stream import Stream
from liveheap.protocol.auth import Agreed, Scope


def make_agent(run_dir: Path, heap: FakeHeap, **settings: object) -> Agent:
    """Return an agent that has not come up: no name, no socket, no thread."""
    run_dir.chmod(0o700)
    return Agent(
        config=config.read({}, settings),
        native=native.find(),
        heap=heap,
        codecs=Codecs(),
        environ={"LIVEHEAP_DIR": str(run_dir)},
        version="0.0.test",
    )


@contextlib.contextmanager
def session_of(agent: Agent, scope: Scope = Scope.GRAPH) -> Iterator[MinimalClient]:
    """Open a session on a socket pair; on leaving, it has ended on both sides."""
    near, far = socket.socketpair()
    agreed = Agreed(scope, 1, str(agent.ident), os.urandom(8))
    stream = Stream(
        socket.SocketType(fileno=far.detach()), idle_s=agent.config.max_idle
    )
    agent.begin_session(stream, agreed, {"transport": "memory"}, b"")
    before = len(agent.sessions)
    try:
        with MinimalClient(near, agreed) as client:
            yield client
    finally:
        eventually(lambda: len(agent.sessions) < before, what="the session ends")
