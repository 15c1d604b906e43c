"""What clients may take of a worker: its owner's word holds, whatever they ask for."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest
from contract.agent_under_test import make_agent, session_of
from contract.fake_heap import FakeHeap
from contract.minimal_client import MinimalClient
from integration.caught_child import files
from spawn import eventually

from liveheap.agent import config
from liveheap.agent.service import Agent
from liveheap.agent.slots import NAME, Slots
from liveheap.errors import CommandError
from liveheap.heap import Heap
from liveheap.protocol.auth import Scope
from liveheap.rails import RANGES, Rails

OBJECTS = 10_000_000


def refusal(client: MinimalClient, command: str, **args: object) -> CommandError:
    with pytest.raises(CommandError) as refused:
        client.request(command, **args)
    assert refused.value.hint
    return refused.value


def limited(agent: Agent, **rails: object) -> None:
    """Give an agent that has not started a command yet other limits."""
    agent.config = replace(agent.config, **rails)
    agent._begin_anew()


# As settings.


@pytest.mark.parametrize("name", sorted(RANGES))
def test_each_limit_is_a_setting_of_the_environment(name: str):
    least = RANGES[name].least
    text = str(int(least) if RANGES[name].whole else least)
    read = config.read({f"LIVEHEAP_{name.upper()}": text}, {})
    assert getattr(read, name) == least
    assert not read.complaints


@pytest.mark.parametrize("name", sorted(RANGES))
@pytest.mark.parametrize("text", ["-1", "inf", "nan", "1e99", "none", ""])
def test_no_setting_takes_a_limit_away(name: str, text: str):
    read = config.read({f"LIVEHEAP_{name.upper()}": text}, {})
    assert getattr(read, name) == getattr(Rails(), name)
    assert len(read.complaints) == 1
    assert name.upper() in read.complaints[0]


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("values", Scope.VALUES),
        ("values,exec", Scope.EXEC),
        (" Exec, read ", Scope.EXEC),
        ("read", Scope.READ),
        ("", Scope.GRAPH),
    ],
)
def test_the_highest_scope_that_is_named_counts(text: str, scope: Scope):
    read = config.read({"LIVEHEAP_ALLOW": text}, {})
    assert (read.allow, read.complaints) == (scope, ())


@pytest.mark.parametrize("text", ["all", "values,all", "4", "read exec!"])
def test_a_scope_that_nobody_knows_changes_nothing(text: str):
    read = config.read({"LIVEHEAP_ALLOW": text}, {})
    assert read.allow is Scope.GRAPH
    assert "each of which includes those before" in read.complaints[0]


def test_the_defaults_are_within_their_ranges():
    assert {field.name for field in fields(Rails)} - set(RANGES) == {"force"}
    for name, each in RANGES.items():
        assert each.least <= getattr(Rails(), name) <= each.most


def test_status_lists_what_the_owner_allows(agent, client):
    listed = {
        each["name"]: each for each in client.request("status").as_dict()["limits"]
    }
    assert listed["max_pause"] == {"name": "max_pause", "value": 5000.0, "unit": "ms"}
    assert set(listed) == {field.name for field in fields(Rails)}


# The stop.


def test_the_heap_knows_what_its_owner_allows(tmp_path: Path, heap: FakeHeap):
    make_agent(tmp_path, heap, max_pause=50)
    assert heap.owners_pause_ms == 50


@pytest.mark.parametrize("force", [False, True])
def test_no_client_stops_the_worker_for_longer_than_its_owner_allows(force: bool):
    """The real heap: a client's limit, or none at all, does not count."""
    real = Heap()
    real.owners_pause_ms = 0.0
    for stop in (real.snapshot, real.histogram, cloned(real)):
        with pytest.raises(CommandError, match="its owner allows 0 ms at most"):
            stop(max_pause_ms=60_000.0, force=force)


def cloned(real: Heap) -> Callable[..., object]:
    return lambda **how: real.clone(lambda _fds: None, -1, **how)


@pytest.mark.parametrize("command", ["snapshot", "trim"])
def test_an_owner_can_forbid_force(command, agent, client, heap):
    limited(agent, force=False)
    assert "LIVEHEAP_FORCE=0" in (refusal(client, command, force=True).hint or "")
    assert not heap.asked


def test_an_owner_can_forbid_to_force_a_clone(agent, heap):
    limited(agent, force=False)
    with session_of(agent, Scope.VALUES) as client:
        refused = refusal(client, "clone", force=True)
    assert "LIVEHEAP_FORCE=0" in (refused.hint or "")


def test_a_clone_lives_no_longer_than_the_owner_allows(agent, monkeypatch):
    limited(agent, max_clone=5)
    asked = []

    def make(self: object, **how: object) -> None:
        asked.append(how)
        raise CommandError("refused", "seen enough", hint="none")

    monkeypatch.setattr("liveheap.agent.copies.Keeper.make", make)
    with session_of(agent, Scope.VALUES) as client:
        refusal(client, "clone", lives_s=600.0)
    assert asked[0]["lives_s"] == 5


def test_what_an_evaluation_prints_is_cut_where_the_owner_says(agent):
    limited(agent, max_output=1000)
    with session_of(agent, Scope.EXEC) as client:
        _, chunks, record = client.stream(
            "console", code="print('x' * 50_000)", max_output=40_000
        )
    assert sum(len(each.data) for each in chunks) <= 1100
    assert record.as_dict()["outcome"] == "ok"


def test_a_collection_of_too_many_objects_is_refused(agent, client, heap):
    heap.estimated_objects = OBJECTS
    limited(agent, max_pause=1000)
    assert "2000 ms" in str(refusal(client, "gc"))
    assert "2000 ms" in str(refusal(client, "snapshot", gc=True))
    limited(agent, max_pause=3000)
    assert client.request("gc").as_dict()["collected"] >= 0


def test_a_trim_beyond_the_owners_limit_is_refused_though_forced(agent, client, heap):
    limited(agent, max_pause=1)
    heap.allocators.parts |= {"trimmable": 10 << 30, "n_free_chunks": 10_000_000}
    refused = refusal(client, "trim", force=True, max_pause_ms=60_000.0)
    assert "its owner allows 1 ms at most" in str(refused)


def test_a_walk_lives_no_longer_than_the_owner_allows(agent, client, heap):
    limited(agent, max_walk=5)
    client.stream("snapshot", timeout_s=3600.0)
    [(_, options)] = [each for each in heap.asked if each[0] == "snapshot"]
    assert options["timeout_s"] == 5


# Rates.


@pytest.mark.parametrize("command", ["gc", "trim"])
def test_what_stops_the_worker_comes_once_in_a_while(agent, client, command):
    client.request(command)
    with session_of(agent) as other:
        refused = refusal(other, command)
    assert refused.code == "busy"
    assert 0 < refused.detail["retry_after"] <= 10


def test_a_collection_before_a_snapshot_counts_as_one(agent, client):
    client.stream("snapshot", gc=True)
    assert refusal(client, "gc").code == "busy"
    assert refusal(client, "snapshot", gc=True).code == "busy"
    client.stream("snapshot")


def test_a_minute_has_room_for_so_many_heavy_commands_of_all_clients(agent, client):
    limited(agent, heavy_per_minute=3)
    for _ in range(3):
        client.request("histogram")
    with session_of(agent) as other:
        refused = refusal(other, "histogram")
        assert refused.code == "busy"
        assert 0 < refused.detail["retry_after"] <= 60
        other.request("status")


def test_who_is_told_busy_is_told_when_to_try_again(agent, client, heap):
    heap.raw(b"", written=0)
    client.ask("snapshot")
    eventually(lambda: agent.heavy.command, what="the snapshot runs")
    with session_of(agent) as other:
        refused = refusal(other, "histogram")
    assert refused.detail["command"] == "snapshot"
    assert refused.detail["retry_after"] > 0


# Sessions.


def test_sessions_are_as_many_as_the_owner_allows(tmp_path: Path, heap: FakeHeap):
    agent = make_agent(tmp_path, heap, max_sessions=2)
    with session_of(agent), session_of(agent):
        assert agent.is_full


def test_an_idle_session_ends_after_the_owners_time(tmp_path: Path, heap: FakeHeap):
    agent = make_agent(tmp_path, heap, max_idle=1)
    with session_of(agent) as client:
        [session] = agent.sessions
        sock = session.stream._socket.socket
        told = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16)
        assert int.from_bytes(told[:8], "little") == 1
        client.socket.settimeout(20)
        assert client.socket.recv(1) == b""  # it hangs up, and we have said nothing


# At once on one machine.

HOLDER = """
import os, sys
from liveheap.agent.slots import Slots
slots = Slots(int(sys.argv[2]))
slots.directory = sys.argv[1]
print(slots.take(), flush=True)
if sys.argv[3:] == ["forks"]:
    child = os.fork()
    if child == 0:
        os.read(0, 1)
        os._exit(0)
    print(child, flush=True)
    os._exit(0)
os.read(0, 1)
"""


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """A function that has another process take a slot, and keep it until it ends."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str, number: int = 2) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(tmp_path), str(number), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def slots(directory: Path, number: int = 2) -> Slots:
    made = Slots(number)
    made.directory = str(directory)
    return made


def test_two_heavy_commands_run_on_a_machine_and_a_third_is_told_busy(
    hold, tmp_path, agent, client
):
    agent.heavy.slots.directory = str(tmp_path)
    first, _second = hold(), hold()
    refused = refusal(client, "histogram")
    assert refused.code == "busy"
    assert refused.detail["retry_after"] > 0
    first.send_signal(signal.SIGKILL)
    first.wait()
    client.request("histogram")
    eventually(
        lambda: str(tmp_path / NAME) not in files(os.getpid()),
        what="the slot is given back",
    )


def test_a_forked_child_keeps_no_slot(hold, tmp_path):
    holder = hold("forks", number=1)
    child = int(holder.stdout.readline())
    holder.wait()
    assert Path(f"/proc/{child}").exists()
    ours = slots(tmp_path, 1)
    assert ours.take()
    ours.give()


def test_where_nobody_can_be_asked_nobody_is_refused(tmp_path):
    assert slots(tmp_path / "gone").take()
    (tmp_path / NAME).symlink_to(tmp_path / "elsewhere")
    assert slots(tmp_path).take()
    assert not (tmp_path / "elsewhere").exists()


def test_a_descriptor_that_the_worker_took_over_is_left_alone(tmp_path):
    ours = slots(tmp_path)
    assert ours.take()
    taken_over = ours._fd
    with open(tmp_path / "theirs", "w", encoding="utf-8") as theirs:
        os.dup2(theirs.fileno(), taken_over)
        ours.give()
        os.write(taken_over, b"still open")
        os.close(taken_over)
    assert (tmp_path / "theirs").read_text("utf-8") == "still open"
