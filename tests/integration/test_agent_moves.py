"""Workers that move away from under the agent: close all files, change user, directory.

What the worker opens afterwards may get the numbers that were ours: nothing of it is
accepted, read, written or closed by us.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_host import Host, start_host
from contract.minimal_client import Gone, connect
from spawn import Stage, eventually

from liveheap import registry
from liveheap.commands import COMMANDS
from liveheap.errors import AuthenticationError
from liveheap.protocol.auth import Scope

CLOSE_ALL = """
import socket
def close_all():
    keep = {0, 1, 2, int(os.environ["READY_FD"])}
    for fd in range(256):
        if fd not in keep:
            try:
                os.close(fd)
            except OSError:
                pass

def open_others():
    global SERVER, PAIRS, CALLER
    SERVER = socket.create_server(("127.0.0.1", 0))
    CALLER = socket.create_connection(SERVER.getsockname())
    PAIRS = [socket.socketpair() for _ in range(20)]
    for near, far in PAIRS:
        far.sendall(b"mine")
        near.setblocking(False)

def are_mine():
    CALLED, _ = SERVER.accept()
    CALLER.sendall(b"hello")
    return CALLED.recv(5) == b"hello" and all(
        near.recv(100) == b"mine" and not any_more(near) for near, far in PAIRS
    )

def any_more(near):
    try:
        return near.recv(100)
    except BlockingIOError:
        return b""
"""


def answers_again(host: Host, pid: int | None = None) -> bool:
    """Whether the agent of a process answers; a connection to a dead one is a no."""
    try:
        with host.connect(pid) as client:
            return client.request("status").as_dict()["pid"] == (pid or host.pid)
    except (OSError, Gone, AuthenticationError):
        return False


def test_a_worker_that_closes_all_files_keeps_those_it_opens_then(stage):
    host = start_host(stage, "plain")
    host.do(CLOSE_ALL)
    before = host.threads()
    host.do("close_all(); open_others()")
    eventually(lambda: answers_again(host), what="the agent is back")
    assert host.do("answer = are_mine()")
    eventually(lambda: host.threads() == before, what="as many threads as before")
    assert host.worker.stderr == ""


def has_written(host: Host) -> bool:
    """Whether the audit line of a command is out, and its file closed.

    A thread of any program that has just opened a file cannot know that another one
    closes its number in that moment.
    """
    log = host.worker.run_dir / "audit.log"
    try:
        files = Path(f"/proc/{host.pid}/fd").iterdir()
        opened = {os.readlink(file) for file in files}
    except FileNotFoundError:  # closed while we looked
        return False
    return '"what": "status"' in log.read_text() and str(log) not in opened


def test_a_client_of_a_worker_that_closes_all_files_sees_the_end(stage):
    host = start_host(stage, "plain")
    host.do(CLOSE_ALL)
    with host.connect() as talking, host.connect() as waiting:
        talking.request("status")
        eventually(lambda: has_written(host), what="the session waits again")
        host.do("close_all(); open_others()")
        for client in (talking, waiting):
            with pytest.raises((Gone, BrokenPipeError)):
                client.request("status")
    eventually(lambda: answers_again(host), what="the agent is back")
    assert host.do("answer = are_mine()")


def test_an_agent_without_its_files_can_be_stopped_and_started(stage):
    host = start_host(stage, "plain")
    host.do(CLOSE_ALL)
    host.do("close_all(); open_others(); import liveheap; liveheap.stop()")
    eventually(lambda: host.threads() == 1, what="no thread of ours is left")
    assert host.do("answer = are_mine()")
    host.do("liveheap.start(strict=True)")
    assert answers_again(host)


def test_a_worker_without_files_forks_a_child_with_an_agent(stage):
    host = start_host(stage, "plain")
    host.do(CLOSE_ALL)
    child = host.do(
        """
close_all(); open_others()
read, write = os.pipe()
pid = os.fork()
if pid == 0:
    os.write(write, b"1" if are_mine() else b"0")
    time.sleep(60)
    os._exit(0)
assert os.read(read, 1) == b"1"
answer = pid
"""
    )
    eventually(lambda: answers_again(host, child), what="the child's agent")
    os.kill(child, signal.SIGKILL)


def test_a_daemon_that_closes_all_files_after_its_fork_has_an_agent(stage):
    host = start_host(stage, "plain")
    host.do(CLOSE_ALL)
    child = host.do(
        """
pid = os.fork()
if pid == 0:
    os.setsid()
    os.closerange(3, 256)
    open_others()
    time.sleep(60)
    os._exit(0)
answer = pid
"""
    )
    eventually(lambda: answers_again(host, child), what="the daemon's agent")
    os.kill(child, signal.SIGKILL)


def test_a_snapshot_ends_when_the_worker_closes_all_files(stage):
    host = start_host(stage, "plain")
    host.do(CLOSE_ALL)
    host.do("KEPT = [[number] for number in range(500_000)]")
    with host.connect() as client:
        answers = client.answers(client.ask("snapshot"))
        next(answers)
        host.do("close_all(); open_others()")
        with pytest.raises((Gone, BrokenPipeError)):
            client.request("status") if list(answers) else None
    eventually(lambda: answers_again(host), what="the agent is back")
    assert host.do("answer = are_mine()")
    eventually(host.has_quiet_agent, what="the walk's session ends")
    assert host.request("snapshot").trailer["complete"]


def test_a_fork_between_accept_and_the_note_of_it_leaves_no_copy(stage):
    host = start_host(stage, "plain")
    host.do(
        """
from liveheap.agent.listener import Listener
genuine = Listener._receive
def receive(self, sock, family):
    global CHILD
    Listener._receive = genuine
    CHILD = os.fork()
    if CHILD == 0:
        try:
            os.fstat(sock.fileno())
        except OSError:
            os._exit(7)
        os._exit(1)
    genuine(self, sock, family)
Listener._receive = receive
"""
    )
    assert host.status()["pid"] == host.pid
    code = "answer = os.waitstatus_to_exitcode(os.waitpid(CHILD, 0)[1])"
    assert host.do(code) == 7


def test_a_directory_named_from_the_old_place_stays_where_it_was(stage):
    host = start_host(stage, "plain", env={"LIVEHEAP_DIR": "run"})
    child = host.do(
        """
os.chdir("/")
pid = os.fork()
if pid == 0:
    time.sleep(60)
    os._exit(0)
answer = pid
"""
    )
    assert answers_again(host, child)
    os.kill(child, signal.SIGKILL)


def test_a_signal_that_the_worker_waits_for_is_not_handled_by_us(stage):
    host = start_host(stage, "plain")
    host.do("import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})")
    with host.connect() as client:
        client.request("status")
        os.kill(host.pid, signal.SIGUSR1)
        waited = host.do("answer = signal.sigtimedwait({signal.SIGUSR1}, 10).si_signo")
    assert waited == signal.SIGUSR1


def test_a_child_may_start_what_its_settings_did_not(stage):
    host = start_host(stage, "plain", env={"LIVEHEAP_CHILDREN": "0"})
    child = host.do(
        """
import liveheap
pid = os.fork()
if pid == 0:
    liveheap.start(strict=True)
    time.sleep(60)
    os._exit(0)
answer = pid
"""
    )
    eventually(lambda: answers_again(host, child), what="the child's agent")
    os.kill(child, signal.SIGKILL)


# Another user.

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change its user")


@pytest.fixture
def stranger() -> Iterator[int]:
    """The number of a user that nobody is; its run directory goes afterwards."""
    uid = 1_000_000 + os.getpid()  # another test run may need one at the same time
    yield uid
    shutil.rmtree(run_directory(uid), ignore_errors=True)


def run_directory(uid: int) -> Path:
    return Path(f"/tmp/liveheap-{uid}")


@pytest.fixture
def privileged(stage: Stage) -> Host:
    """A host of root's that uses the usual directories."""
    return Host(stage.spawn("agent_host", "plain", env={"LIVEHEAP_DIR": ""}))


def socket_of(uid: int, pid: int) -> Path:
    found = eventually(
        lambda: sorted(run_directory(uid).glob(f"{pid}-*.sock")),
        what=f"a socket of {pid} in the directory of user {uid}",
    )
    return found[0]


@as_root
def test_a_child_that_drops_its_rights_is_found_as_its_new_user(privileged, stranger):
    child = privileged.do(
        f"""
pid = os.fork()
if pid == 0:
    os.setgid({stranger}); os.setuid({stranger})
    time.sleep(60)
    os._exit(0)
answer = pid
"""
    )
    with connect(socket_of(stranger, child)) as client:
        assert client.request("status").as_dict()["pid"] == child
    os.kill(child, signal.SIGKILL)


@as_root
def test_a_worker_that_drops_its_rights_moves_to_its_new_user(privileged, stranger):
    privileged.do(f"os.setgid({stranger}); os.setuid({stranger})")
    with connect(socket_of(stranger, privileged.pid)) as client:
        for command in COMMANDS:
            stays = command.is_verb and command.name not in ("detach", "stop")
            if stays and command.scope <= Scope.GRAPH:
                client.request(command.name)
    assert privileged.worker.stderr == ""
    listed = [
        entry for entry in registry.entries({}) if entry.pid == privileged.worker.pid
    ]
    assert [entry.facts["uid"] for entry in listed] == [stranger]


def test_a_start_that_fails_again_and_again_complains_once(stage):
    worker = stage.spawn("agent_host", "plain", agent=False)
    host = Host(worker)
    host.do(
        """
import liveheap
os.environ["LIVEHEAP_DIR"] = "/dev/null"
os.environ["LIVEHEAP"] = "1"
for _ in range(3):
    liveheap.start()
"""
    )
    assert worker.stderr.count("liveheap:") == 1
    assert "/dev/null" in worker.stderr
