"""A crowd presses in: the worker works on, and who has something to say is heard.

The figures that go with it are rows of the bench (tests/bench/hostile_rows.py); here
nothing is timed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from agent_host import Host, start_host
from contract.minimal_client import Gone
from spawn import Stage, eventually

from liveheap.agent.lobby import MAX_UNAUTHENTICATED
from liveheap.errors import AuthenticationError
from liveheap.rails import Rails

MOST_SESSIONS = Rails().max_sessions
CROWD = Path(__file__).parents[1] / "crowd.py"


@contextmanager
def crowd_before(host: Host, number: int) -> Iterator[dict[str, Any]]:
    """Let a crowd press in; what it did is in the dict afterwards."""
    did: dict[str, Any] = {}
    path = host.worker.wait_for_socket()
    words = [sys.executable, CROWD, path, path.with_name("token"), str(number)]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            yield did
        finally:
            said, _ = process.communicate()
            did.update(json.loads(said))


def comes_in(host: Host) -> bool:
    """Whether one who comes now is answered; those with the token may fill it."""
    with suppress(OSError, Gone, AuthenticationError):
        return bool(host.status()["pid"] == host.pid)
    return False


def test_an_honest_client_works_on_and_another_comes_in_through_a_crowd(stage: Stage):
    host = start_host(stage, "plain")
    host.status()
    with host.unharmed():
        files, threads = host.descriptors(), host.threads()
        most_files = files + MAX_UNAUTHENTICATED + 2 * MOST_SESSIONS
        with host.connect() as client:
            with crowd_before(host, 60) as did:
                full = files + MAX_UNAUTHENTICATED
                eventually(lambda: host.descriptors() >= full, what="it is full")
                for _ in range(20):
                    assert client.request("status").as_dict()["pid"] == host.pid
                    assert host.do("answer = 6 * 7") == 42
                    assert host.descriptors() <= most_files
                    assert host.threads() <= threads + MOST_SESSIONS
                eventually(lambda: comes_in(host), what="one comes in")
            assert client.request("status").as_dict()["pid"] == host.pid
        assert did["garbage"] > 0
    lines = (host.worker.run_dir / "audit.log").read_text().splitlines()
    assert sum('"strangers"' in line for line in lines) <= 2
