"""An agent that comes late: into a worker that knows nothing of it, and out again."""

from __future__ import annotations

import sys

import pytest
from agent_host import Host
from late_attach import bring, luggage_of, start_unprepared
from spawn import eventually

from liveheap.protocol.results import Record, Table
from liveheap_client.inject import ladder

TRACES = """
import atexit, gc, signal, threading
answer = {
    "threads": sorted(map(int, os.listdir("/proc/self/task"))),
    "known threads": len(threading.enumerate()),
    "files": sorted(os.readlink(f"/proc/self/fd/{n}").partition(":[")[0]
        for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}")),
    "modules": sorted(name for name in sys.modules
        if name.partition(".")[0] not in sys.stdlib_module_names),
    "path": sys.path,
    "finders": list(map(repr, sys.meta_path)),
    "path hooks": len(sys.path_hooks),
    "importers": sorted(path for path in sys.path_importer_cache if "agent-" in path),
    "main": sorted(vars(sys.modules["__main__"])),
    "handlers": [str(signal.getsignal(n)) for n in sorted(signal.valid_signals())],
    "switch interval": sys.getswitchinterval(),
    "writes bytecode": not sys.dont_write_bytecode,
    "agents": [name for name in vars(os) if "liveheap" in name],
}
"""
OBJECTS_OF_OURS = """
import gc
gc.collect()
answer = [repr(each)[:200] for each in gc.get_objects()
    if str(getattr(type(each), "__module__", "")).startswith("liveheap")
    or str(getattr(each, "__module__", "")).startswith("liveheap")]
"""
NONE_OF_OURS = "answer = not any(name.startswith('liveheap') for name in sys.modules)"


@pytest.fixture(params=["plain", "asyncio", "gevent"])
def host(request, stage) -> Host:
    return start_unprepared(stage, request.param)


def test_an_agent_comes_answers_and_leaves_without_a_trace(host):
    host.do(TRACES)  # what this needs itself is loaded by now
    before = host.do(TRACES)
    arrival = bring(host)
    assert (arrival.package, arrival.way == "running") == ("brought", False)
    assert 0 < arrival.longest_s < arrival.loading_s
    assert luggage_of(host.pid) == []
    status = host.status()
    assert status["pid"] == host.pid
    assert status["injected"] is True
    assert status["engine"] == "ok"
    with host.connect() as client:
        assert isinstance(client.request("histogram", top=5), Table)
        _, chunks, blob = client.stream("snapshot")
        assert blob.trailer["complete"] is True
        assert chunks
        answer = client.request("detach")
    assert isinstance(answer, Record)
    assert answer.as_dict() == {"left": True, "injected": True}
    eventually(lambda: host.threads() == len(before["threads"]), what="threads end")
    eventually(lambda: host.do(NONE_OF_OURS), what="its modules are gone")
    after = host.do(TRACES)
    assert after == before
    assert host.do(OBJECTS_OF_OURS) == []
    assert host.worker.sockets() == []
    assert list(host.worker.run_dir.glob("*.json")) == []
    assert host.worker.stderr == ""


FORK = """
answer = os.fork()
if not answer:
    os._exit(len(os.listdir("/proc/self/task")) - 1)
answer = os.waitstatus_to_exitcode(os.waitpid(answer, 0)[1])
"""


def test_what_the_worker_forks_has_no_agent_while_it_is_there_nor_after(stage):
    host = start_unprepared(stage, "plain")
    bring(host)
    with host.connect() as client:
        assert host.do(FORK) == 0
        assert client.request("detach").as_dict()["left"]
    eventually(lambda: host.threads() == 1, what="its threads are gone")
    assert host.do(FORK) == 0
    assert host.worker.sockets() == []
    assert host.worker.stderr == ""


if sys.version_info >= (3, 14):

    def test_where_the_interpreter_runs_scripts_nobody_is_stopped(stage, monkeypatch):
        monkeypatch.setitem(ladder.WAITS_S, "remote_exec", 60.0)
        host = start_unprepared(stage, "asyncio")
        arrival = bring(host)
        assert (arrival.way, arrival.stopped_ms) == ("remote_exec", None)
        assert host.status()["pid"] == host.pid
