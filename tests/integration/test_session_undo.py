"""Whatever a session started ends with it, though its client is killed in the middle.

The client is a process of its own, which says `begun` when the worker does what it was
asked for, waits to be killed, and can clean up nothing. What the copy's own fences do
about it is held in test_clone_endings.py, what the walk's child does in
test_bad_luck_snapshot.py.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from agent_host import Host, start_host
from caught_child import children, files
from spawn import Stage, eventually

from liveheap.agent.slots import NAME

TESTS = Path(__file__).parents[1]
SETTINGS = {"LIVEHEAP_ALLOW": "exec", "LIVEHEAP_SPOOL_LEASE": "1"}
CLIENT = """
import sys, time
from contract.minimal_client import connect
from liveheap.protocol.auth import Scope
from liveheap.protocol.messages import Chunk
client = connect(sys.argv[1], scope=Scope.EXEC)
def wait_for_a_chunk(request):
    next(each for each in client.answers(request) if isinstance(each, Chunk))
{begin}
print("begun", flush=True)
time.sleep(600)
"""
BEGINNINGS = {
    "snapshot": "wait_for_a_chunk(client.ask('snapshot', force=True))",
    "spool": "wait_for_a_chunk(client.ask('snapshot', force=True, lease_s=600.0))",
    "console": """
code = "import time\\nprint('on')\\nwhile True: time.sleep(0.01)\\n"
wait_for_a_chunk(client.ask("console", code=code, whole=True))
""",
    "clone": "client.request('clone', force=True)",
    "clone-ask": """
client.request("clone", force=True, python=True)
code = "print('on', flush=True)\\nwhile True: pass\\n"
wait_for_a_chunk(client.ask("clone-ask", code=code, whole=True))
""",
}
AS_BEFORE = """
import sys
answer = [sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__,
          sys.displayhook is sys.__displayhook__, sys.stdin is sys.__stdin__]
"""


@pytest.fixture
def host(stage: Stage) -> Host:
    host = start_host(stage, "plain", env=SETTINGS)
    host.do("rows = [{'number': n} for n in range(100_000)]")
    return host


@contextmanager
def client(host: Host, beginning: str) -> Iterator["subprocess.Popen[str]"]:
    """Lend a client that has begun something and does nothing more."""
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            CLIENT.format(begin=beginning),
            str(host.worker.wait_for_socket()),
        ],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            yield process
        finally:
            process.kill()


def left(host: Host) -> list[str]:
    """Return the spools and locks that a worker still has open."""
    mine = (name for name in files(host.pid) if "(deleted)" in name or NAME in name)
    return sorted(mine)


def quiet(host: Host) -> bool:
    """Whether nothing runs and nobody is there but who asks."""
    with suppress(OSError):
        facts = host.status()
        return facts.get("sessions") == 1 and not facts.get("heavy")
    return False


@pytest.mark.parametrize("what", BEGINNINGS)
def test_nothing_is_left_of_a_client_that_was_killed(what: str, host: Host) -> None:
    started: dict[str, Callable[[], object]] = {
        "spool": lambda: left(host),
        "console": lambda: host.status()["sessions"] == 2,
        "clone": lambda: children(host.pid),
        "clone-ask": lambda: children(host.pid),
    }
    before = host.do(AS_BEFORE)
    threads = host.threads()
    with client(host, BEGINNINGS[what]) as killed:
        if what in started:
            eventually(started[what], what=f"the {what} is there")
        killed.kill()
        killed.wait()

        eventually(lambda: quiet(host), what="its session has ended")
        eventually(lambda: not children(host.pid), what="no child is left")
        eventually(lambda: not left(host), what="its spool is given back")
    assert host.do(AS_BEFORE) == before
    eventually(lambda: host.threads() <= threads, what=f"{threads} threads again")
    assert host.worker.stderr == ""
