"""The console in real hosts: output, threads, greenlets, manhole stay as they were.

One host of each kind serves all tests of this file that leave it unharmed.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from agent_host import Host, start_host
from contract.minimal_client import MinimalClient
from late_attach import bring, start_unprepared
from spawn import Stage, eventually

from liveheap.errors import AuthenticationError, CommandError
from liveheap.protocol.auth import Scope
from liveheap.protocol.messages import Chunk, Failure, Progress, Result

KINDS = ("plain", "gevent", "asyncio")
# What is counted, after the collector has had its say.
TRACES = """
import gc, threading
gc.collect()
hub = sys.modules.get("gevent.hub")
answer = {
    "threads": [each.name for each in threading.enumerate()],
    "hubs": hub and sum(
        isinstance(each, hub.Hub) and each.loop is not None for each in gc.get_objects()
    ),
    "streams": [each is was for each, was in zip(
        (sys.stdout, sys.stderr, sys.stdin, sys.displayhook), STREAMS)],
    "finders": len(sys.meta_path),
}
"""


@pytest.fixture(scope="module")
def hosts() -> Iterator[dict[str, Host]]:
    """One host of each kind, whose stdout is the file `said` in its home."""
    stage = Stage()
    try:
        found = {
            kind: start_host(stage, kind, env={"LIVEHEAP_ALLOW": "exec"})
            for kind in KINDS
        }
        for host in found.values():
            host.do(
                "sys.stdout = open('said', 'w', buffering=1)\n"
                "STREAMS = sys.stdout, sys.stderr, sys.stdin, sys.displayhook"
            )
        yield found
    finally:
        stage.close()


@pytest.fixture(params=KINDS)
def host(request: pytest.FixtureRequest, hosts: dict[str, Host]) -> Host:
    return hosts[request.param]


def said_by(host: Host) -> str:
    return (Path(host.worker.environ["HOME"]) / "said").read_text()


@contextmanager
def console(host: Host) -> Iterator[MinimalClient]:
    eventually(lambda: host.count_sessions() == 1, what="sessions end")
    with host.connect(scope=Scope.EXEC) as client:
        yield client


def evaluate(client: MinimalClient, code: str) -> tuple[str, dict[str, Any]]:
    return answer_of(client, client.ask("console", code=code, whole=True))


def answer_of(client: MinimalClient, request: int) -> tuple[str, dict[str, Any]]:
    messages = list(client.answers(request))
    last = messages[-1]
    if isinstance(last, Failure):
        raise last.to_error()
    assert isinstance(last, Result)
    chunks = [bytes(each.data) for each in messages if isinstance(each, Chunk)]
    return b"".join(chunks).decode(), last.shape.as_dict()


# Prints for as long as a console evaluates: in a thread, a greenlet or a task.
PRINT_ON = """
import threading
def print_on():
    for n in range(96):
        print("app line", n)
        time.sleep(0.002)
threading.Thread(target=print_on).start()
"""
PRINT_UNTIL = """
import time, threading
deadline = time.monotonic() + 30
while open("said").read().count("app line") < 96 and time.monotonic() < deadline:
    print("console")
    {pause}
"""


def test_the_application_keeps_every_line_and_the_console_its_own(host, hosts):
    with console(host) as client:
        assert evaluate(client, "1")[0] == "1\n"
        host.do(PRINT_ON)
        is_gevent = host is hosts["gevent"]
        where, pause = ("%main ", "time.sleep(0.01)") if is_gevent else ("", "pass")
        output, facts = evaluate(client, where + PRINT_UNTIL.format(pause=pause))
        assert facts["outcome"] == "ok", output
        assert set(output.splitlines()) == {"console"}
    lines = [line for line in said_by(host).splitlines() if "app line" in line]
    assert lines == [f"app line {n}" for n in range(96)]
    assert "console" not in said_by(host)
    assert host.worker.stderr == ""


def test_twenty_sessions_leave_no_hub_no_thread_and_no_stand_in(host, hosts):
    with console(host) as client:
        evaluate(client, "1")  # loads what it needs
    before = host.do(TRACES)
    threads = host.threads()
    for _ in range(20 if host is hosts["gevent"] else 5):
        with console(host) as client:
            code = "import threading, colorsys; print(threading.current_thread())"
            assert evaluate(client, code)[1]["outcome"] == "ok"
            assert evaluate(client, "import time; time.sleep(0)")[0] == ""
    eventually(host.has_quiet_agent, what="sessions end")
    eventually(lambda: host.do(TRACES) == before, what=f"as before: {before}")
    assert before["hubs"] in (None, 0, 1)
    assert all(before["streams"])
    eventually(lambda: host.threads() <= threads, what="threads end")
    assert host.worker.stderr == ""


@pytest.mark.parametrize("host", ["asyncio", "gevent"], indirect=True)
def test_main_is_the_main_thread_where_greenlets_may_wait(host, hosts):
    code = "import threading as t; t.main_thread().ident, t.current_thread().name"
    with console(host) as client:
        if host is hosts["asyncio"]:
            code = f"import asyncio; asyncio.get_running_loop(); {code}"
            output, facts = evaluate(client, f"%main {code}")
            assert "MainThread" in output
            assert facts["via"] in ("loop", "main")
            return
        code = "import gevent; gevent.sleep(0.01); gevent.spawn(int, '7').get()"
        output, facts = evaluate(client, f"%main {code}")
        assert (output, facts["via"]) == ("7\n", "hub")
        request = client.ask("console", code="%main print(1); gevent.sleep(99)")
        assert isinstance(client.next_message(), Chunk)
        client.cancel(request)
        assert answer_of(client, request)[1]["raised"] == "KeyboardInterrupt"
        assert host.do("answer = 1") == 1


SPIN_ON_MAIN = "%main print('spins')\nwhile True: pass"
UNTIL_TOLD = "while not os.path.exists('told'): time.sleep(0.005)"


def test_ctrl_c_interrupts_the_main_thread_and_the_worker_goes_on(host, hosts):
    is_plain, told = host is hosts["plain"], Path(host.worker.environ["HOME"], "told")
    if is_plain:  # or its main thread would sit in C
        host.worker.process.stdin.write(json.dumps(UNTIL_TOLD).encode() + b"\n")
        host.worker.process.stdin.flush()
    with console(host) as client:
        request = client.ask("console", code=SPIN_ON_MAIN, whole=True)
        message = client.next_message()
        while isinstance(message, Progress):
            message = client.next_message()
        assert isinstance(message, Chunk), message
        client.cancel(request)
        assert answer_of(client, request)[1]["raised"] == "KeyboardInterrupt"
    if is_plain:
        told.touch()
        host.worker.wait_until_ready()
    assert host.do("answer = 6 * 7") == 42
    assert host.worker.stderr == ""


def test_a_client_that_vanishes_in_the_middle_leaves_nothing(host):
    with console(host) as client:
        evaluate(client, "1")
    before, threads, files = host.do(TRACES), host.threads(), host.descriptors()
    for code in ("while True: print('x' * 1000)", "while True: pass"):
        with console(host) as client:
            client.ask("console", code=f"print('begun')\n{code}", whole=True)
            assert isinstance(client.next_message(), Chunk)
    eventually(host.has_quiet_agent, what="sessions end")
    eventually(lambda: host.threads() <= threads, what="threads end")
    eventually(lambda: host.descriptors() <= files, what="files are closed")
    eventually(lambda: host.do(TRACES) == before, what=f"as before: {before}")
    assert host.worker.stderr == ""


def test_neither_gevent_nor_eventlet_comes_with_the_console_nor_a_manhole(hosts):
    loaded = hosts["plain"].do(
        "answer = [name for name in ('gevent', 'eventlet') if name in sys.modules]"
    )
    assert loaded == []
    for host in hosts.values():
        with console(host) as client:
            evaluate(client, "1")  # loads it, and eventlet is not asked for
        assert host.do("import manhole; answer = manhole._MANHOLE is None")
        assert not Path(f"/tmp/manhole-{host.pid}").exists()


def test_code_that_forks_leaves_no_copy_of_the_console_behind(hosts):
    host = hosts["plain"]
    with console(host) as client:
        code = "import os; pid = os.fork()\nif pid: print(os.waitpid(pid, 0)[1])"
        assert evaluate(client, code)[0] == "0\n"
        assert evaluate(client, "import os; os.getpid()")[0] == f"{host.pid}\n"


def test_a_debugger_is_refused_and_traces_nothing_afterwards(hosts):
    with console(hosts["plain"]) as client:
        output, facts = evaluate(client, "import pdb; pdb.set_trace(); 1\n2")
        assert facts["outcome"] == "error"
        assert "no input()" in output
        assert evaluate(client, "import sys; sys.gettrace()")[0] == ""


def test_help_is_text_and_waits_for_no_pager(hosts):
    with console(hosts["plain"]) as client:
        output, facts = evaluate(client, "help(int)")
        assert facts["outcome"] == "ok"
        assert "class int" in output
        assert evaluate(client, "help()")[1]["outcome"] == "ok"


def test_a_child_forked_meanwhile_prints_where_its_parent_does(hosts):
    host = hosts["plain"]
    with console(host) as client:
        evaluate(client, "import sys; seen = []")
        code = "seen.append(1); print('begun')\nwhile seen: pass"
        request = client.ask("console", code=code, whole=True)
        assert isinstance(client.next_message(), Chunk)
        forked = (
            "pid = os.fork()\n"
            "if not pid:\n"
            "    print('child', sys.stdout is STREAMS[0]); os._exit(0)\n"
            "answer = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])"
        )
        assert host.do(forked) == 0
        client.cancel(request)
        answer_of(client, request)
    assert "child True\n" in said_by(host)


def test_a_manhole_of_the_application_s_own_goes_on(stage: Stage):
    host = start_host(stage, "plain", env={"LIVEHEAP_ALLOW": "exec"})
    host.do(
        "import manhole\n"
        "theirs = manhole.install(verbose=False, socket_path='manhole', "
        "connection_handler='exec', daemon_connection=True)"
    )
    with console(host) as client:
        assert evaluate(client, "print('here')")[0] == "here\n"
    assert host.do("answer = manhole._MANHOLE is theirs")
    host.do(
        "import socket\n"
        "with socket.socket(socket.AF_UNIX) as s:\n"
        "    s.connect('manhole')\n"
        '    s.sendall(b\'open("told", "w").write("by manhole")\\n\')\n'
        "    s.shutdown(socket.SHUT_WR); s.recv(1)"
    )
    told = Path(host.worker.environ["HOME"]) / "told"
    eventually(lambda: told.exists() and told.read_text(), what="it is told")


def test_an_agent_that_came_late_has_a_console_and_says_of_which_class(stage: Stage):
    host = start_unprepared(stage, "plain", LIVEHEAP_ALLOW="exec")
    bring(host)
    with console(host) as client:
        assert evaluate(client, "6 * 7")[0] == "42\n"
        name = client.request("console").as_dict()["class"]
    assert "no manhole here" in name
    with host.connect() as client:
        client.request("detach")
    assert host.do("answer = 'manhole' in sys.modules") is False
    assert host.worker.stderr == ""


def test_a_worker_that_does_not_allow_it_grants_no_scope_for_it(stage: Stage):
    host = start_host(stage, "plain")
    with pytest.raises(AuthenticationError) as refused:
        host.connect(scope=Scope.EXEC)
    assert refused.value.code == "scope"
    with host.connect() as client, pytest.raises(CommandError) as no:
        client.request("console", code="1")
    assert no.value.code == "scope"
    assert host.do("answer = 'manhole' in sys.modules") is False


def test_a_worker_may_end_while_a_console_computes(stage: Stage):
    host = start_host(stage, "plain", env={"LIVEHEAP_ALLOW": "exec"})
    with console(host) as client:
        client.ask("console", code="print(1)\nwhile True: pass", whole=True)
        assert isinstance(client.next_message(), Chunk)
        assert host.worker.end() == 0
    assert host.worker.stderr == ""
    assert os.path.exists(sys.executable)
