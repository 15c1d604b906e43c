"""Hosts with habits of their own: the agent is no trouble to them, nor they to it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys

import pytest
from agent_host import Host, start_host
from command_line import liveheap, starting
from contract.minimal_client import Gone
from spawn import WORKERS, Stage, eventually, stop

from liveheap_client.patience import QUIET_S

CONNECT_FAILED = 3
SAYS_SO_WITHIN_S = 2
PLANT = """
class Planted: pass
KEPT = [Planted() for _ in range(1000)]
"""


@pytest.fixture
def host(stage: Stage) -> Host:
    return start_host(stage, "plain")


def tell(host: Host, code: str) -> None:
    """Have the host run something that it will not answer for."""
    assert host.worker.process.stdin is not None
    host.worker.process.stdin.write(json.dumps(code).encode() + b"\n")
    host.worker.process.stdin.flush()


def use(host: Host) -> None:
    """Do with a host what a session does, and see that the answers are whole."""
    host.do(PLANT)
    with host.connect() as client:
        assert client.request("status").as_dict()["pid"] == host.pid
        rows = client.request("histogram").rows
        assert [row[1] for row in rows if row[0].endswith("Planted")] == [1000]
        assert client.request("gc").as_dict()["collected"] >= 0
        assert client.request("snapshot").trailer["complete"]
    assert host.do("answer = 6 * 7") == 42


# What answers nobody.


WEDGES = {
    "sum(range(10**11))": r"computes(; thread \d+ uses \d+ % of a processor)?\n",
    "import ctypes; ctypes.PyDLL(None).sleep(60)": r"sleeps \(\w*nanosleep\)",
}


def test_a_wedged_worker_is_called_so_within_two_seconds_and_seen_from_outside(
    stage: Stage,
) -> None:
    hosts = [start_host(stage, "plain") for _ in WEDGES]
    clients = []
    for host, wedge in zip(hosts, WEDGES, strict=True):
        tell(host, f"open('wedged', 'w').close(); {wedge}")
        wedged = host.worker.stderr_path.parent / "wedged"
        eventually(wedged.exists, what="it is wedged")
        words = ("status", host.pid, "--timeout", "2")
        clients.append(starting(*words, env=host.worker.environ))

    for host, client, seen in zip(hosts, clients, WEDGES.values(), strict=True):
        _, said = client.communicate(timeout=60)
        host.worker.kill()
        assert client.returncode == CONNECT_FAILED
        first, *rest = said.splitlines()
        assert "the GIL may be held by a long call" in first
        waited = re.search(r"waiting \(([0-9.]+) s\)", first)
        assert waited, first
        assert QUIET_S <= SAYS_SO_WITHIN_S
        assert float(waited[1]) < QUIET_S + 10  # on a machine that has much to do
        told = f"from outside: RSS [0-9.]+ MiB, 2 threads, the main one {seen}"
        assert re.search(told, said), said
        assert "(waited 2 s)" in said
        assert rest[-1].startswith("hint:")


def test_a_worker_that_execs_in_the_middle_of_a_session_ends_it_and_answers_anew(
    host: Host,
) -> None:
    [path] = host.worker.sockets()
    before = host.status()
    with host.connect() as client:
        client.request("status")
        tell(host, "os.execv(sys.executable, [sys.executable, *sys.argv])")
        client.socket.settimeout(60)
        with pytest.raises(Gone):
            client.next_message()
    host.worker.wait_until_ready()
    assert host.worker.sockets() == [path]
    assert host.status()["instance"] != before["instance"]


def test_a_worker_that_daemonises_in_the_middle_of_a_session_has_an_agent_again(
    host: Host,
) -> None:
    with host.connect() as client:
        client.request("status")
        tell(
            host,
            """
if os.fork():
    os._exit(0)
if os.fork():
    os._exit(0)
WORLD = open(os.environ["HOME"] + "/daemon", "w")
WORLD.write(str(os.getpid()))
WORLD.close()
""",
        )
        client.socket.settimeout(60)
        with pytest.raises(Gone):
            client.next_message()
    noted = host.worker.stderr_path.parent / "daemon"
    pid = int(eventually(lambda: noted.exists() and noted.read_text(), what="a pid"))
    with host.connect(pid) as client:
        assert client.request("status").as_dict()["pid"] == pid
    listed = json.loads(liveheap("ps", "--json", env=host.worker.environ).stdout)
    assert [row["pid"] for row in listed] == [pid]
    os.kill(pid, signal.SIGKILL)


def test_a_worker_that_is_stopped_in_the_middle_of_a_session_goes_on_with_it(
    host: Host,
) -> None:
    with host.connect() as client:
        client.request("status")
        stop(host.pid)
        request = client.ask("snapshot")
        assert client.socket.fileno() >= 0
        os.kill(host.pid, signal.SIGCONT)
        assert list(client.answers(request))
        assert client.request("status").as_dict()["pid"] == host.pid


# What has habits.


def test_signals_of_children_and_their_deaths_stay_the_hosts_own(host: Host) -> None:
    host.do(
        """
import signal
SEEN, REAPED = [], []
def on_child(*_):
    SEEN.append(1)
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        REAPED.append(pid)
signal.signal(signal.SIGCHLD, on_child)
"""
    )
    use(host)
    assert host.do("answer = [SEEN, REAPED]") == [[], []]
    child = host.do("pid = os.fork() or os._exit(0); time.sleep(0); answer = pid")
    eventually(lambda: host.do("answer = REAPED") == [child], what="its own is reaped")


def test_handlers_at_exit_run_once_each_and_in_their_order(stage: Stage) -> None:
    host = start_host(stage, "plain")
    host.do(
        """
import atexit
def note(word):
    with open(os.environ["HOME"] + "/exit", "a") as file:
        file.write(word + " ")
    if word == "second":
        raise ValueError("the host's own")
for word in ("first", "second", "third"):
    atexit.register(note, word)
"""
    )
    host.status()
    host.worker.end()
    noted = host.worker.stderr_path.parent / "exit"
    assert noted.read_text() == "third second first "
    assert "the host's own" in host.worker.stderr
    assert "liveheap" not in host.worker.stderr
    assert host.worker.sockets() == []


HABITS = {
    "faulthandler": (
        "import faulthandler; faulthandler.enable(); "
        "faulthandler.dump_traceback_later(3600, exit=True)",
        "answer = faulthandler.is_enabled()",
        True,
    ),
    "no collector": (
        "import gc; gc.disable()",
        "answer = gc.isenabled()",
        False,
    ),
    "a frozen generation": (
        "import gc; gc.freeze()",
        "answer = gc.get_freeze_count() > 1000",
        True,
    ),
    "tracemalloc": (
        "import tracemalloc; tracemalloc.start(5); TRACED = bytearray(10_000)",
        "answer = tracemalloc.is_tracing() and "
        "tracemalloc.get_object_traceback(TRACED) is not None",
        True,
    ),
    "a profiler": (
        "sys.setprofile(lambda *_: None)",
        "answer = sys.getprofile() is not None",
        True,
    ),
    "an audit hook that refuses": (
        "def hook(event, args):\n"
        "    if event.startswith(('os.fork', 'ctypes', 'subprocess')):\n"
        "        raise RuntimeError(event)\n"
        "sys.addaudithook(hook)",
        "answer = True",
        True,
    ),
}


@pytest.mark.parametrize("habit", HABITS)
def test_a_habit_is_as_before_after_a_session(habit: str, host: Host) -> None:
    take, ask, expected = HABITS[habit]
    host.do(take)
    use(host)
    assert host.do(ask) is expected
    assert host.worker.stderr == ""


@pytest.mark.parametrize("first", ["manhole", "agent"])
def test_the_hosts_own_manhole_goes_on(first: str, stage: Stage) -> None:
    host = start_host(stage, "plain", agent=first == "agent")
    host.do("import manhole; manhole.install(verbose=False)")
    if first == "manhole":
        host.do("os.environ['LIVEHEAP'] = '1'; import liveheap; liveheap.start()")
    use(host)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        path = f"/tmp/manhole-{host.pid}"
        eventually(lambda: not client.connect_ex(path), what="its manhole is open")
        client.sendall(
            b"import __main__ as main; print('kept:', len(main.WORLD['KEPT']))\n"
        )
        client.sendall(b"exit()\n")
        said = b""
        while piece := client.recv(4096):
            said += piece
    assert b"kept: 1000" in said
    assert host.status()["pid"] == host.pid


# What nothing can be written to, as of `docker run --read-only`.


def read_only(stage: Stage, *, agent: bool = True, **env: str) -> Host:
    """Start a host in a mount namespace where only its home can be written to."""
    mounts = "".join(
        f"mount --bind {place} {place} && mount -o remount,ro,bind {place} && "
        for place in ("/tmp", "/var/tmp", "/run", "/dev/shm")
    )
    home = 'mount --bind "$HOME" "$HOME" && mount -o remount,rw,bind "$HOME"'
    script = f'{mounts} {home} && exec "$@"'
    command = ["unshare", "-m", "sh", "-c", script, "sh", sys.executable]
    program = [str(WORKERS / "agent_host.py"), "plain"]
    return Host(stage.spawn_command([*command, *program], env=env, agent=agent))


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")


@as_root
def test_on_a_read_only_file_system_the_run_directory_is_enough(stage: Stage) -> None:
    host = read_only(stage)
    use(host)
    assert host.worker.stderr == ""


@as_root
def test_where_nothing_can_be_written_the_worker_runs_and_it_is_said_once(
    stage: Stage,
) -> None:
    host = read_only(stage, LIVEHEAP_DIR="", agent=False)
    for _ in range(2):
        host.do("os.environ['LIVEHEAP'] = '1'; import liveheap; liveheap.start()")
    assert host.do("answer = 6 * 7") == 42
    assert host.worker.stderr.count("\n") == 1
    assert "no agent in this process: no directory can be made" in host.worker.stderr
    assert "Read-only file system; hint: set LIVEHEAP_DIR" in host.worker.stderr
