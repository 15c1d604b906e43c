"""A copy of a real host: what it sees, what it is fenced off from, who may ask it."""

from __future__ import annotations

import json
import re
import sys

import pytest
from agent_host import start_host
from cloning import cloning_host, copied

from liveheap.errors import AuthenticationError, CommandError
from liveheap.protocol.auth import Scope

HOLD = """
import threading, time
if {gevent}:
    import gevent
class Held: pass
def hold():
    mine = [Held() for _ in range(100)]
    time.sleep(1000)
for _ in range(10):
    {start}
time.sleep(0)
__import__('gc').freeze()
"""
THREADS = HOLD.format(
    gevent=False, start="threading.Thread(target=hold, daemon=True).start()"
)
GREENLETS = HOLD.format(gevent=True, start="gevent.spawn(hold)")
HAS_HEAPY = sys.version_info < (3, 15)
HOW_MANY = """
import gc
sum(type(each).__name__ == 'Held' for each in gc.get_objects())
"""
IN_FRAMES = """
import sys
len({id(one) for held in vars(sys.modules['liveheap.frames']).values()
     if isinstance(held, dict) for one in held.get('mine', ())})
"""
SESSION_NICE = """
import os
def session_nice():
    try:
        return int(open('/proc/self/autogroup').read().split()[-1])
    except (OSError, IndexError):
        return None
"""
FENCES = f"""{SESSION_NICE}
import json, os, resource, signal
status = dict(line.split(':', 1) for line in open('/proc/self/status'))
print(json.dumps({{
    'files': sorted(os.readlink(f'/proc/self/fd/{{n}}').partition(':')[0]
                    for n in os.listdir('/proc/self/fd') if n != '3'),
    'oom': open('/proc/self/oom_score_adj').read().strip(),
    'nice': os.getpriority(os.PRIO_PROCESS, 0),
    'session nice': session_nice(),
    'name': status['Name'].strip(),
    'caught': int(status['SigCgt'], 16) == 1 << (signal.SIGINT - 1),
    'memory': resource.getrlimit(resource.RLIMIT_AS)[0] > 0,
    'threads': int(status['Threads']),
    'switch': 'gevent' in repr(type(__import__('_thread').allocate_lock())),
}}))
"""


@pytest.mark.parametrize(("kind", "hold"), [("plain", THREADS), ("gevent", GREENLETS)])
def test_what_only_threads_and_greenlets_hold_is_seen(stage, kind, hold):
    host = cloning_host(stage, kind)
    host.do(hold)
    with copied(host) as copy:
        assert copy.say(HOW_MANY) == "1000"
        assert copy.say("objgraph.count('Held')") == "1000"
        assert copy.say(IN_FRAMES) == "1000"
        if HAS_HEAPY:
            rows = copy.say("h.bytype.all")
            assert re.search(r"^ *\d+ +1000 .* (\w+\.)?Held$", rows, re.MULTILINE)
        chain = copy.say(
            "objgraph.find_backref_chain(objgraph.by_type('Held')[0],"
            " objgraph.is_proper_module)[0].__name__"
        )
        assert chain == "'liveheap.frames'"
    assert host.do("answer = 6 * 7") == 42
    assert host.worker.stderr == ""


def test_under_scope_values_heapy_and_objgraph_answer_and_nothing_else_does(stage):
    host = cloning_host(stage)
    host.do(THREADS)
    with copied(host, Scope.VALUES) as copy:
        if HAS_HEAPY:
            assert "Referred Via" in copy.say("h[0].byvia")
            assert copy.say("h[0].count > 0") == "True"
        else:
            text, answer = copy.ask("h[0].byvia")
            assert answer["outcome"] == "error"
            assert "objgraph.show_backrefs" in text
        copy.say("mine = objgraph.by_type('Held')[:2]")
        assert copy.say("len(mine)") == "2"
        _, answer = copy.ask("objgraph.show_backrefs(mine, max_depth=4)")
        (dot,) = answer["pictures"]
        assert dot.startswith("digraph")
        assert "hold()" in dot
        for refused in (
            "__import__('os')",
            "import os",
            "mine[0].__class__",
            "mine[0].__dict__",
            "objgraph.os",
            "objgraph.show_backrefs(mine, filename='x.dot')",
            "(lambda: 1)()",
            "open('/etc/passwd')",
        ):
            text, answer = copy.ask(refused)
            assert (answer["outcome"], text[:8]) == ("error", "not here"), refused
        names = copy.client.request("clone-complete", text="objgraph.show_b").rows
        assert names == (("show_backrefs",),)
    log = (host.worker.run_dir / "audit.log").read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    asked = [line.get("code") for line in lines if line["what"] == "clone-line"]
    assert "__import__('os')" in asked


def test_the_copy_is_fenced_off_and_the_host_notices_nothing(stage):
    host = cloning_host(stage, "gevent")
    host.do(
        "import os, signal; hooked = []\n"
        "os.register_at_fork(before=lambda: hooked.append('before'),"
        " after_in_parent=lambda: hooked.append('parent'),"
        " after_in_child=lambda: hooked.append('child'))\n"
        "signal.signal(signal.SIGCHLD, lambda *_: hooked.append('signal'))\n"
        "hub = __import__('gevent').get_hub()"
    )
    nice = host.do("answer = os.getpriority(os.PRIO_PROCESS, 0)")
    session_nice = host.do(f"{SESSION_NICE}\nanswer = session_nice()")
    with host.unharmed(), copied(host) as copy:
        found = json.loads(copy.say(FENCES))
        assert found["files"] == ["/dev/null"] * 3 + ["socket"]
        assert found["oom"] == "1000"
        assert found["nice"] == min(nice + 10, 19)
        behind = None if session_nice is None else min(session_nice + 10, 19)
        assert found["session nice"] == behind
        assert (found["name"], found["threads"]) == ("liveheap-clone", 1)
        assert found["caught"]
        assert found["memory"]
        assert not found["switch"]
        assert copy.say("import __main__; __main__.WORLD['hooked']") == "[]"
        assert copy.say("import time; time.sleep(0.001)") == ""
        status = host.status()
        assert status["clone"] == copy.pid
        assert status["clone_memory"] > 0
        (listed,) = host.worker.run_dir.glob("*.json")
        assert json.loads(listed.read_text())["clone"] == copy.pid
        none = host.do(
            "try: answer = os.waitpid(-1, os.WNOHANG)\n"
            "except ChildProcessError: answer = 'none'"
        )
        assert none in ("none", [0, 0])
    assert host.do("answer = hooked") == []
    assert "clone" not in host.status()


def test_locks_that_threads_hold_at_the_fork_do_not_stop_the_copy(stage):
    host = cloning_host(stage)
    host.do(
        "import importlib._bootstrap as boot, logging, threading\n"
        "logging.basicConfig()\n"
        "held, over = threading.Event(), threading.Event()\n"
        "def hold():\n"
        "    locks = [boot._get_module_lock(name) for name in ('objgraph', 'codeop')]\n"
        "    for lock in locks: lock.acquire()\n"
        "    with logging._lock, logging.getLogger().handlers[0].lock:\n"
        "        held.set(); over.wait()\n"
        "threading.Thread(target=hold, daemon=True).start(); held.wait()"
    )
    with copied(host) as copy:
        assert copy.say("objgraph.count('Nobody')") == "0"
        copy.say("import logging; logging.getLogger('x').error('nobody hears')")
        assert copy.say("print('heard')") == "heard"
    host.do("over.set()")
    assert host.worker.stderr == ""


def test_scopes_and_the_number_of_copies_are_bounded(stage):
    host = cloning_host(stage)
    with host.connect(scope=Scope.GRAPH) as client:
        with pytest.raises(CommandError) as refused:
            client.request("clone")
        assert refused.value.code == "scope"
    with copied(host, Scope.VALUES) as copy, host.connect(scope=Scope.EXEC) as client:
        with pytest.raises(CommandError) as refused:
            copy.client.request("clone", python=True)
        assert refused.value.code == "scope"
        with pytest.raises(CommandError) as refused:
            client.request("clone")
        assert refused.value.code == "busy"
        assert str(copy.pid) in str(refused.value)
        client.request("histogram")
        assert copy.say("1 + 1") == "2"
    with pytest.raises(AuthenticationError, match="scope"):
        start_host(stage, "plain").connect(scope=Scope.VALUES)


def test_without_the_packages_the_copy_says_so_and_what_there_is(stage):
    host = cloning_host(stage)
    host.do("sys.modules['guppy'] = sys.modules['objgraph'] = None")
    with copied(host, Scope.VALUES) as copy:
        text, _ = copy.ask("objgraph.count('dict')")
        assert "objgraph is not installed" in text
        text, _ = copy.ask("h")
        assert "guppy3" in text


def test_ctrl_c_ends_what_runs_and_the_copy_stays(stage):
    host = cloning_host(stage)
    with copied(host) as copy:
        request = copy.begun("while True: pass")
        copy.client.cancel(request)
        try:
            text, answer = copy.hear(request)
        except CommandError as late:  # on a busy machine: behind everybody else
            assert str(late) == "cancelled"  # noqa: PT017 -- or none at all
        else:
            assert "KeyboardInterrupt" in text
            assert answer["raised"] == "KeyboardInterrupt"
        assert copy.say("1 + 1") == "2"
