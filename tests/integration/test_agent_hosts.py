"""The agent in gevent, eventlet, asyncio and plain hosts: threads, pings, gc."""

from __future__ import annotations

import importlib.util
import time

import pytest
from agent_host import Host, latencies_ms, start_host
from spawn import Stage, eventually

KINDS = ["plain", "asyncio", "gevent", "gevent-late"]
GEVENT_KINDS = ["gevent", "gevent-late"]
SPIN_IN_BACKGROUND = {
    "plain": "import threading; threading.Thread(target=spin, args=(1.5,)).start()",
    "asyncio": "loop.call_later(0.01, spin, 1.5)",
    "gevent": "import gevent; gevent.spawn_later(0.01, spin, 1.5)",
    "gevent-late": "import gevent; gevent.spawn_later(0.01, spin, 1.5)",
}
COUNT_HUBS = """
import gc, gevent.hub
answer = sum(isinstance(each, gevent.hub.Hub) for each in gc.get_objects())
"""
FORBID_IMPORTS = """
import builtins, threading, _thread
from gevent import monkey
get_ident = monkey.get_original("_thread", "get_ident")
main, genuine, SEEN = get_ident(), builtins.__import__, []
OURS = {ident for ident in sys._current_frames() if ident != main}

def guarded(name, *args, **kwargs):
    if get_ident() != main:
        SEEN.append(name)
        raise ImportError(f"a thread of liveheap imports {name}")
    return genuine(name, *args, **kwargs)

class Finder:
    def find_spec(self, name, path=None, target=None):
        if get_ident() != main:
            SEEN.append(name)
        return None

builtins.__import__ = guarded
sys.meta_path.insert(0, Finder())
"""


@pytest.fixture(params=KINDS)
def host(request: pytest.FixtureRequest, stage: Stage) -> Host:
    return start_host(stage, request.param)


@pytest.fixture(params=GEVENT_KINDS)
def gevent_host(request: pytest.FixtureRequest, stage: Stage) -> Host:
    return start_host(stage, request.param)


@pytest.mark.quiet
@pytest.mark.parametrize("kind", KINDS)
def test_an_idle_host_answers_in_a_millisecond(kind, stage):
    with start_host(stage, kind).connect() as client:
        medians = [latencies_ms(client, 100)[50] for _ in range(5)]
    assert min(medians) < 1.0, f"p50 {medians} ms"


@pytest.mark.quiet
@pytest.mark.parametrize("kind", KINDS)
def test_beside_cpu_bound_code_a_ping_takes_milliseconds(kind, stage):
    host = start_host(stage, kind)
    medians = []
    with host.connect() as client:
        latencies_ms(client, 5)
        for _ in range(3):
            host.keep_busy(SPIN_IN_BACKGROUND[kind])
            medians.append(latencies_ms(client, 40, rest_s=0.005)[20])
            host.do("answer = 'spun'")
    assert min(medians) < 10.0, f"p50 {medians} ms"


@pytest.mark.quiet
def test_a_new_session_opens_beside_a_spinning_greenlet(gevent_host):
    gevent_host.keep_busy(SPIN_IN_BACKGROUND["gevent"])
    began = time.monotonic()
    assert gevent_host.status()["pid"] == gevent_host.pid
    assert time.monotonic() - began < 1.0


def test_twenty_sessions_leave_one_hub_and_no_thread(gevent_host):
    names = "import threading; answer = [each.name for each in threading.enumerate()]"
    hubs, before = gevent_host.do(COUNT_HUBS), gevent_host.do(names)
    with gevent_host.unharmed():
        gevent_host.request("gc")
        for _ in range(20):
            gevent_host.request("histogram")
    assert gevent_host.do(COUNT_HUBS) == hubs == 1
    assert gevent_host.do(names) == before


def test_nothing_is_imported_on_the_agents_threads(gevent_host):
    gevent_host.do("import gc; gc.collect()")
    gevent_host.do(FORBID_IMPORTS)
    for command in ("status", "gc", "histogram", "snapshot"):
        with gevent_host.connect() as client:
            list(client.answers(client.ask(command)))
    assert gevent_host.do("answer = SEEN") == []


def test_a_late_patch_finds_the_modules_as_if_there_were_no_agent(stage):
    host = start_host(stage, "gevent-late", env={"PYTHONWARNINGS": "error"})
    assert host.do(
        """
import threading, ssl, queue, gevent.monkey
main = threading.main_thread()
answer = [
    gevent.monkey.is_object_patched("threading", "Event"),
    gevent.monkey.is_module_patched("ssl"),
    type(main).__name__, main is threading.current_thread(),
    len(threading.enumerate()),
]
"""
    ) == [True, True, "_MainThread", True, 1]
    assert host.worker.stderr == ""


def test_status_names_the_host(host):
    facts = host.status()
    assert facts["pid"] == host.pid
    assert facts["program"] == "agent_host.py"
    assert facts["kind"] == "app"
    assert facts["sessions"] == 1


def test_status_counts_the_greenlets_of_a_small_host(gevent_host):
    gevent_host.do(
        "import gevent; MORE = [gevent.spawn(gevent.sleep, 60) for _ in '1234567']"
    )
    before = gevent_host.status()
    assert before["framework"] == "gevent"
    assert before["greenlets"] >= 7


@pytest.mark.quiet
@pytest.mark.parametrize("kind", KINDS)
def test_gc_on_an_idle_host_is_quick_and_says_who_did_it(kind, stage):
    host = start_host(stage, kind)
    if kind == "gevent-late":
        host.do("import gevent; gevent.sleep(0.01)")
    with host.connect() as client:
        began = time.monotonic()
        facts = client.request("gc").as_dict()
        took = time.monotonic() - began
    assert facts["via"] in {
        "plain": ("agent", "main"),
        "asyncio": ("loop", "main"),
    }.get(kind, ("hub", "main"))
    assert took - facts["seconds"] < 0.1


@pytest.mark.quiet
@pytest.mark.parametrize("kind", KINDS)
def test_gc_beside_cpu_bound_code_runs_soon_on_the_main_thread(kind, stage):
    host = start_host(stage, kind)
    with host.connect() as client:
        host.keep_busy(SPIN_IN_BACKGROUND[kind])
        facts = client.request("gc").as_dict()
    if kind != "plain":
        assert facts["via"] == "main"
    assert facts["seconds"] < 1.0


def test_a_finalizer_that_puts_into_a_gevent_queue_wakes_the_waiter(gevent_host):
    gevent_host.do(
        """
import gc, gevent, gevent.queue
gc.disable()
QUEUE, WOKEN = gevent.queue.Queue(), []
def wait():
    QUEUE.get()
    WOKEN.append(time.monotonic())
WAITER = gevent.spawn(wait)
gevent.sleep(0)
class Finalized:
    def __del__(self):
        QUEUE.put(1)
        PUT.append(time.monotonic())
PUT = []
cycle = Finalized()
cycle.myself = cycle
del cycle
"""
    )
    assert gevent_host.request("gc").as_dict()["via"] in ("hub", "main")
    eventually(lambda: gevent_host.do("answer = len(WOKEN)"), what="the waiter wakes")
    assert gevent_host.do("answer = WOKEN[0] - PUT[0]") < 0.5
    assert gevent_host.do(COUNT_HUBS) == 1


def test_eventlet_is_a_host_too(stage):
    if importlib.util.find_spec("eventlet") is None:  # importing it hooks into fork
        pytest.skip("eventlet is not installed")
    host = start_host(stage, "eventlet", env={"PYTHONWARNINGS": "ignore"})
    with host.connect() as client:
        assert latencies_ms(client, 50)[25] < 5.0
    host.keep_busy("import eventlet; eventlet.spawn_after(0.01, spin, 1.5)")
    assert host.status()["framework"] == "eventlet"
