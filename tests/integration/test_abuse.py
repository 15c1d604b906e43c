"""Abuse cases of REMOTE.md 10 that have no file of their own; tests/abuse.md lists all.

Who stands in for whom: another process under a worker's name, another user at an open
door, numbers that lead to nobody; and too much asked for at once.
"""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgpack
import pytest
from agent_host import Host, start_host
from contract.minimal_client import connect
from spawn import Stage, eventually, stop
from strangers import AS_ROOT, as_stranger, stranger_uid

from liveheap.errors import AuthenticationError, CommandError, LiveheapError
from liveheap.protocol.auth import Scope
from liveheap_client.dial import DialOptions
from liveheap_client.errors import ConnectError, TimedOut
from liveheap_client.patience import Patience
from liveheap_client.session import Session
from liveheap_client.target import parse

HELLO = """
sock = socket.socket(socket.AF_UNIX)
sock.settimeout(60)
sock.connect(sys.argv[2])
try:
    sock.sendall(bytes.fromhex(sys.argv[3]))
    answer = sock.recv(4096)
except OSError:
    answer = b''
print(len(answer), flush=True)
"""
M1 = b"\x93LHEAP\r\n" + bytes([1, 2, 0, 0]) + bytes(4) + b"\xc1" * 32


@pytest.fixture
def host(stage: Stage) -> Host:
    host = start_host(stage, "plain")
    host.status()
    return host


def opened(host: Host, target: object, *, timeout_s: float = 30.0) -> Session:
    """Open a session as the command line does."""
    patience = Patience(timeout_s=timeout_s)
    options = DialOptions(
        environ=host.worker.environ, patience=patience, has_terminal=False
    )
    return Session.open(parse(str(target)), scope=Scope.GRAPH, options=options)


# 8: what is no request.


@pytest.mark.parametrize("length", [65, 64 * 1024])
def test_a_command_name_that_is_too_long_ends_its_session_alone(length, host):
    body = msgpack.packb({"kind": "request", "id": 9, "command": "x" * length})
    with host.unharmed(), host.connect() as other:
        with host.connect() as client:
            client.request("status")
            client.socket.sendall(struct.pack("<I", len(body)) + body)
            assert client.socket.recv(1) == b""
        assert other.request("status").as_dict()["pid"] == host.pid
        other.close()


# 9: squatting.


def test_a_genuine_agent_under_another_workers_name_is_noticed(stage: Stage):
    asked = start_host(stage, "plain")
    run_dir = asked.worker.run_dir
    other = Host(stage.spawn("agent_host", "plain", env={"LIVEHEAP_DIR": str(run_dir)}))
    name, others = (
        eventually(lambda pid=each.pid: asked.worker.sockets(pid), what="a socket")[0]
        for each in (asked, other)
    )
    name.unlink()
    others.rename(name)

    with pytest.raises(AuthenticationError, match="another process answers") as error:
        opened(asked, asked.pid)

    assert error.value.code == "wrong-worker"
    assert str(other.pid) in str(error.value)
    with opened(asked, f"unix:{name}") as session:  # whoever holds the token, there
        assert session.ident.pid == other.pid


# 10: numbers that lead to nobody.


@pytest.fixture
def nobody() -> Iterator[dict[str, int]]:
    """A zombie, a process without agent, and a thread of it that is not its first."""
    program = (
        "import threading; threading.Thread(target=input, daemon=True).start(); "
        "print('ready', flush=True); threading.Event().wait()"
    )
    with subprocess.Popen(["true"]) as dead:
        os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
        with subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as bare:
            assert bare.stdout
            bare.stdout.readline()
            threads = sorted(map(int, os.listdir(f"/proc/{bare.pid}/task")))
            yield {
                "zombie": dead.pid,
                "thread": threads[-1],
                "bare": bare.pid,
                "nobody": 2**22 - 1,
                "init": 1,
            }
            bare.kill()


@pytest.mark.parametrize(
    ("who", "words"),
    [
        ("zombie", "has ended"),
        ("thread", "is a thread of process"),
        ("bare", "has no liveheap agent"),
        ("nobody", "no process"),
        ("init", "process 1 "),
    ],
)
def test_a_number_that_leads_to_no_agent_is_told_what_it_is(who, words, nobody, host):
    with pytest.raises(ConnectError, match=words) as error:
        opened(host, nobody[who])
    assert error.value.hint


def test_a_worker_that_stands_still_is_told_to_and_waits_for_nobody(host):
    with opened(host, host.pid, timeout_s=2.0) as session:
        stop(host.pid)
        try:
            with pytest.raises(TimedOut, match="is stopped") as error:
                session.request("status")
            with pytest.raises(TimedOut, match="is stopped"):
                opened(host, host.pid, timeout_s=0.5)
        finally:
            os.kill(host.pid, signal.SIGCONT)
    assert f"kill -CONT {host.pid}" in (error.value.hint or "")
    with host.unharmed():
        assert host.status()["pid"] == host.pid


# 3, of peers: another user at an open door.


@AS_ROOT
@pytest.mark.parametrize("is_allowed", [False, True])
def test_a_directory_left_open_lets_in_the_users_that_were_named_and_no_other(
    is_allowed: bool, stage: Stage
):
    uid = stranger_uid()
    env = {"LIVEHEAP_ALLOW_UIDS": str(uid)} if is_allowed else {}
    host = start_host(stage, "plain", env=env)
    path = host.worker.wait_for_socket()
    for folder in (stage.directory, path.parent.parent, path.parent):
        folder.chmod(0o711)
    path.chmod(0o666)
    with host.unharmed(), as_stranger(uid, HELLO, path, M1.hex()) as process:
        said, _ = process.communicate()
    assert (int(said) > 44) == is_allowed
    assert host.status()["pid"] == host.pid


# 19: too much at once.


def test_of_twenty_snapshots_at_once_some_run_and_the_others_are_told_busy(host):
    path, code = host.worker.wait_for_socket(), Counter()

    def snapshot(_: int) -> str:
        try:
            with connect(path) as client:
                client.stream("snapshot", force=True)
        except (CommandError, AuthenticationError) as exc:
            return exc.code or "?"
        except ConnectionError:  # shown out of a full lobby, before a word or after
            return "closed"
        except (LiveheapError, OSError) as exc:
            return type(exc).__name__
        return "done"

    with host.unharmed():
        with ThreadPoolExecutor(20) as crowd:
            code.update(crowd.map(snapshot, range(20)))
        assert code["done"] >= 1
        assert set(code) <= {"done", "busy", "closed"}, code
