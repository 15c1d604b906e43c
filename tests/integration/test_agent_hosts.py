"""The agent in gevent, eventlet, asyncio and plain hosts: threads, pings, gc."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from typing import Any

import pytest
from agent_host import Host, latencies_ms, start_host
from spawn import Stage

KINDS = ["plain", "asyncio", "gevent", "gevent-late"]
GEVENT_KINDS = ["gevent", "gevent-late"]
MOST_MEASURES = 10
SPIN_IN_BACKGROUND = {
    "plain": "import threading; threading.Thread(target=spin).start()",
    "asyncio": "loop.call_later(0.01, spin)",
    "gevent": "import gevent; gevent.spawn_later(0.01, spin)",
    "gevent-late": "import gevent; gevent.spawn_later(0.01, spin)",
    "eventlet": "import eventlet; eventlet.spawn_after(0.01, spin)",
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


def assert_some(measure: Callable[[], float], *, below: float) -> None:
    """Measure until it is low enough: what is promised is what the agent costs.

    Another program that takes the CPU meanwhile makes a figure worse, and none better.
    """
    figures: list[float] = []
    while not figures or min(figures) >= below:
        assert len(figures) < MOST_MEASURES, f"all of {figures} ms, not < {below} ms"
        figures.append(measure())


@pytest.mark.quiet
@pytest.mark.parametrize("kind", KINDS)
def test_an_idle_host_answers_in_a_millisecond(kind, stage):
    host = start_host(stage, kind)
    with host.connect() as client:
        assert_some(lambda: latencies_ms(host, client, 100)[50], below=1.0)


@pytest.mark.quiet
@pytest.mark.parametrize("kind", KINDS)
def test_beside_cpu_bound_code_a_ping_takes_milliseconds(kind, stage):
    host = start_host(stage, kind)
    with host.connect() as client, host.busy(SPIN_IN_BACKGROUND[kind]):
        assert_some(
            lambda: latencies_ms(host, client, 40, rest_s=0.005)[20], below=10.0
        )


@pytest.mark.quiet
def test_a_new_session_opens_beside_a_spinning_greenlet(gevent_host):
    def session_ms() -> float:
        began = time.monotonic()
        assert gevent_host.status()["pid"] == gevent_host.pid
        return (time.monotonic() - began) * 1000

    with gevent_host.busy(SPIN_IN_BACKGROUND["gevent"]):
        assert_some(session_ms, below=1000.0)


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

    def gc_ms() -> float:
        began = time.monotonic()
        facts.update(client.request("gc").as_dict())
        return (time.monotonic() - began - facts["seconds"]) * 1000

    facts: dict[str, Any] = {}
    with host.connect() as client:
        assert_some(gc_ms, below=100.0)
    assert facts["via"] in {
        "plain": ("agent", "main"),
        "asyncio": ("loop", "main"),
    }.get(kind, ("hub", "main"))


@pytest.mark.quiet
@pytest.mark.parametrize("kind", KINDS)
def test_gc_beside_cpu_bound_code_runs_soon_on_the_main_thread(kind, stage):
    host = start_host(stage, kind)
    with host.connect() as client, host.busy(SPIN_IN_BACKGROUND[kind]):
        facts = client.request("gc").as_dict()
    if kind != "plain":
        assert facts["via"] == "main"
    assert facts["seconds"] < 5.0


def test_a_finalizer_that_puts_into_a_gevent_queue_wakes_the_waiter(gevent_host):
    gevent_host.do(
        """
import gc, gevent, gevent.queue
gc.disable()
QUEUE = gevent.queue.Queue()
def wait():
    QUEUE.get()
    os.write(int(os.environ["READY_FD"]), b"ready\\n")
WAITER = gevent.spawn(wait)
gevent.sleep(0)
class Finalized:
    def __del__(self):
        QUEUE.put(1)
cycle = Finalized()
cycle.myself = cycle
del cycle
"""
    )
    assert gevent_host.request("gc").as_dict()["via"] in ("hub", "main")
    gevent_host.worker.wait_until_ready()  # to ask would wake it, and nothing else does
    assert gevent_host.do(COUNT_HUBS) == 1


@pytest.mark.quiet
def test_eventlet_is_a_host_too(stage):
    if importlib.util.find_spec("eventlet") is None:  # importing it hooks into fork
        pytest.skip("eventlet is not installed")
    host = start_host(stage, "eventlet", env={"PYTHONWARNINGS": "ignore"})
    with host.connect() as client:
        assert_some(lambda: latencies_ms(host, client, 50)[25], below=5.0)
    with host.busy(SPIN_IN_BACKGROUND["eventlet"]):
        assert host.status()["framework"] == "eventlet"
