"""Forks, execs and deaths: each process has its own agent, and none has another's."""

from __future__ import annotations

import os
import signal
import socket
import sys

import pytest
from agent_host import Host, is_alive, start_host
from contract.minimal_client import Gone
from spawn import Stage, eventually

from liveheap import registry
from liveheap.errors import CommandError

KINDS = ["plain", "gevent", "gevent-late"]
FORK = """
pid = os.fork()
if pid == 0:
    try:
        time.sleep(60)
    finally:
        os._exit(0)
answer = pid
"""
FORK_AND_REAP = """
pid = os.fork()
if pid == 0:
    os._exit(7)
answer = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""
FAR_LONGER_S = 30.0
FORK_WITHOUT_DELAY = {"LIVEHEAP_FORK_DELAY": "0"}


@pytest.fixture(params=KINDS)
def host(request: pytest.FixtureRequest, stage: Stage) -> Host:
    return start_host(stage, request.param)


def let_children_wait(host: Host, seconds: float) -> None:
    """Set how long a forked child's agent waits before it takes a name."""
    host.do(
        f"""
import dataclasses, liveheap.agent.start
agent = liveheap.agent.start.Current.agent
agent.config = dataclasses.replace(agent.config, fork_delay={seconds})
"""
    )


def kill(host: Host, pid: int) -> None:
    """Kill a child of the host, and have the host reap it."""
    os.kill(pid, signal.SIGKILL)
    host.do(f"answer = os.waitpid({pid}, 0)")


def fork_and_wait(host: Host) -> int:
    """Fork once more and wait for that child's agent: as long as any would take."""
    child: int = host.do(FORK)
    host.worker.wait_for_socket(child)
    return child


def descriptors_of(pid: int) -> set[str]:
    """Return what the open files of a process are."""
    folder = f"/proc/{pid}/fd"
    found = set()
    for name in os.listdir(folder):
        try:
            found.add(os.readlink(f"{folder}/{name}"))
        except OSError:
            continue
    return found


def test_a_forked_child_listens_under_its_own_pid(host):
    child = host.do(FORK)
    with host.connect(child) as client:
        facts = client.request("status").as_dict()
        assert client.agreed.ident.split(":")[1] == str(child)
    assert facts["pid"] == child
    assert facts["kind"] == "child"
    assert facts["generation"] == 1
    assert facts["instance"] != host.status()["instance"]
    assert host.status()["pid"] == host.pid
    kill(host, child)


def test_a_grandchild_listens_too(stage):
    host = start_host(stage, "plain")
    child = host.do(
        """
read, write = os.pipe()
pid = os.fork()
if pid == 0:
    grandchild = os.fork()
    if grandchild:
        os.write(write, str(grandchild).encode())
    time.sleep(60)
    os._exit(0)
answer = [pid, int(os.read(read, 20))]
"""
    )
    for generation, pid in enumerate(child, 1):
        with host.connect(pid) as client:
            assert client.request("status").as_dict()["generation"] == generation
    for pid in child:
        os.kill(pid, signal.SIGKILL)


def test_a_child_holds_no_socket_of_its_parents_sessions(host):
    with host.connect() as client:
        client.request("status")
        before = {each for each in descriptors_of(host.pid) if "socket" in each}
        child = host.do(FORK)
        with host.connect(child):
            after = {each for each in descriptors_of(child) if "socket" in each}
        inherited = {each for each in before & after}
        assert not inherited - {"socket:[0]"}, inherited
        client.request("status")
    kill(host, child)


def test_a_client_sees_the_end_of_a_killed_parent_though_its_child_lives(host):
    with host.connect() as client:
        client.request("status")
        child = host.do(FORK)
        host.worker.kill()
        with pytest.raises(Gone):
            client.next_message()
        assert is_alive(child)


def test_a_fork_in_the_middle_of_a_command_harms_neither_side(host):
    host.do("KEPT = [[number] for number in range(300_000)]")
    with host.connect() as client:
        request = client.ask("histogram")
        children = [host.do(FORK) for _ in range(3)]
        assert list(client.answers(request))
        assert client.request("status").as_dict()["pid"] == host.pid
    for child in children:
        with host.connect(child) as client:
            assert client.request("status").as_dict()["sessions"] == 1
        kill(host, child)


def test_a_fork_that_ends_soon_leaves_no_name(host):
    let_children_wait(host, FAR_LONGER_S)  # than a loaded machine lets them live
    host.do("for _ in range(20):\n    os.fork() or os._exit(0)")
    let_children_wait(host, 0.3)
    later = fork_and_wait(host)
    names = {int(path.name.split("-")[0]) for path in host.worker.sockets()}
    assert names == {host.pid, later}


def test_a_fork_that_execs_leaves_no_name(stage):
    host = start_host(stage, "plain")
    let_children_wait(host, FAR_LONGER_S)
    child = host.do(
        """
pid = os.fork()
if pid == 0:
    os.execvp("sleep", ["sleep", "60"])
answer = pid
"""
    )
    let_children_wait(host, 0.3)
    fork_and_wait(host)
    assert host.worker.sockets(child) == []
    kill(host, child)


def test_the_name_of_a_killed_child_is_gone_at_the_next_listing(host):
    child = host.do(FORK)
    host.worker.wait_for_socket(child)
    kill(host, child)
    assert host.worker.sockets(child)
    listed = {entry.pid for entry in registry.entries(host.worker.environ)}
    assert host.pid in listed
    assert child not in listed
    assert host.worker.sockets(child) == []


def test_a_parent_that_forked_calls_itself_a_master(stage):
    host = start_host(stage, "plain")
    child = host.do(FORK)
    assert host.status()["kind"] == "master"
    eventually(
        lambda: [
            entry
            for entry in registry.entries(host.worker.environ)
            if entry.pid == host.pid and entry.facts["kind"] == "master"
        ],
        what="the listing says master",
    )
    kill(host, child)


def test_children_can_be_left_without_agent(stage):
    host = start_host(
        stage, "plain", env={**FORK_WITHOUT_DELAY, "LIVEHEAP_CHILDREN": "0"}
    )
    child = host.do(FORK)
    assert len(os.listdir(f"/proc/{child}/task")) == 1
    assert host.worker.sockets(child) == []
    kill(host, child)


def test_a_master_can_be_left_without_thread(stage):
    host = start_host(
        stage, "plain", env={**FORK_WITHOUT_DELAY, "LIVEHEAP_MASTER": "0"}, agent=False
    )
    assert host.worker.sockets() == []
    worker = stage.spawn(
        "agent_host", "plain", env={**FORK_WITHOUT_DELAY, "LIVEHEAP_MASTER": "0"}
    )
    host = Host(worker)
    assert host.threads() == 1
    child = host.do(FORK)
    with host.connect(child) as client:
        assert client.request("status").as_dict()["pid"] == child
    assert worker.sockets(host.pid) == []
    kill(host, child)


def test_an_image_after_exec_answers_under_the_same_name(stage):
    host = start_host(stage, "plain")
    before = host.status()
    [path] = host.worker.sockets()
    host.worker.process.stdin.write(
        b'"os.execv(sys.executable, [sys.executable, *sys.argv])"\n'
    )
    host.worker.process.stdin.flush()
    host.worker.wait_until_ready()
    assert host.worker.sockets() == [path]
    after = host.status()
    assert abs(after["started"] - before["started"]) < 5
    assert after["instance"] != before["instance"]


def test_a_worker_that_ends_withdraws_its_name(stage):
    host = start_host(stage, "plain")
    assert host.worker.end() == 0
    assert host.worker.sockets() == []
    assert host.worker.stderr == ""
    assert {path.name for path in host.worker.run_dir.iterdir()} <= {
        "audit.log",
        "token",
    }


def test_a_stale_socket_of_the_same_name_is_taken_over(stage):
    host = start_host(stage, "plain")
    [path] = host.worker.sockets()
    host.do("import liveheap; liveheap.stop()")
    squatter = socket.socket(socket.AF_UNIX)
    squatter.bind(str(path))
    host.do("liveheap.start(strict=True)")
    assert host.status()["pid"] == host.pid
    squatter.close()


def test_a_fork_on_a_second_thread_gives_the_child_an_agent(stage):
    host = start_host(stage, "plain")
    child = host.do(
        """
import liveheap, threading
PIDS = []
def work():
    with liveheap.task("work"):
        time.sleep(60)
    os._exit(0)
def fork():
    pid = os.fork()
    if pid == 0:
        work()
    PIDS.append(pid)
thread = threading.Thread(target=fork)
thread.start()
thread.join()
answer = PIDS[0]
"""
    )
    with host.connect(child) as client:
        facts = client.request("status").as_dict()
        assert facts["pid"] == child
        assert client.request("gc").as_dict()["collected"] >= 0
    assert [task["thread"] for task in facts["tasks"]] == [child]
    kill(host, child)


def test_a_child_of_a_late_patched_host_says_nothing_on_stderr(stage):
    host = start_host(stage, "gevent-late")
    child = host.do(
        """
import gevent
pid = os.fork()
if pid == 0:
    while not os.path.exists(os.environ["LIVEHEAP_DIR"] + "/go"):
        gevent.sleep(0.01)
    sys.exit(0)
answer = pid
"""
    )
    host.worker.wait_for_socket(child)
    (host.worker.run_dir / "go").touch()
    host.do(f"answer = os.waitpid({child}, 0)[1]")
    assert host.worker.stderr == ""


def test_a_failure_in_the_fork_hook_is_the_hosts_business_in_no_way(stage):
    host = start_host(stage, "plain")
    host.do(
        """
from liveheap.agent.service import Agent
def explode(self):
    raise RuntimeError("on purpose")
Agent.after_fork_in_child = Agent.after_fork_in_parent = explode
"""
    )
    assert host.do(FORK_AND_REAP) == 7
    assert host.worker.stderr == ""
    with pytest.raises(CommandError):
        host.request("nonsense")


FORK_OR_WARNING = """
answer = 0
try:
    pid = os.fork()
    if pid == 0:
        os._exit(7)
    answer = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
except DeprecationWarning as warning:
    answer = str(warning)
"""


def test_a_host_whose_warnings_are_errors_forks_as_ever(stage):
    host = start_host(stage, "plain", env={"PYTHONWARNINGS": "error"})
    answer = host.do(FORK_OR_WARNING)
    # From 3.15 on the interpreter raises what it swallowed before, for any process
    # with a second thread.
    assert answer == 7 or (sys.version_info >= (3, 15) and "multi-threaded" in answer)
    assert host.worker.stderr == ""


def test_a_master_without_thread_forks_without_a_warning(stage):
    env = {"PYTHONWARNINGS": "error", "LIVEHEAP_MASTER": "0"}
    host = Host(stage.spawn("agent_host", "plain", env=env))
    assert host.do(FORK_OR_WARNING) == 7
    assert host.worker.stderr == ""
