"""start() and stop(): settings, switches, refusals; and no trace of either."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from pathlib import Path

import pytest
from agent_host import Host, start_host
from contract.minimal_client import shake_hands
from spawn import Stage, eventually, free_port

import liveheap
from liveheap.errors import AuthenticationError
from liveheap.protocol.auth import Scope

FOOTPRINT = """
import atexit, gc, signal, threading, warnings
answer = {
    "threads": len(os.listdir("/proc/self/task")),
    "named": [each.name for each in threading.enumerate()],
    "files": len(os.listdir("/proc/self/fd")),
    "atexit": atexit._ncallbacks(),
    "signals": [str(signal.getsignal(each)) for each in signal.valid_signals()],
    "gc": [gc.isenabled(), list(gc.get_threshold()), len(gc.callbacks)],
    "hooks": [
        repr(hook)
        for hook in (sys.excepthook, sys.unraisablehook, threading.excepthook)
    ],
    "switch": sys.getswitchinterval(),
    "filters": len(warnings.filters),
    "path": sys.path,
    "environ": sorted(each for each in os.environ if each != "LIVEHEAP"),
}
"""
MODULES = "answer = sorted(sys.modules)"
NEVER = {
    "asyncio",
    "ssl",
    "_ssl",
    "socket",
    "logging",
    "numpy",
    "rich",
    "click",
    "subprocess",
    "selectors",
    "gevent",
    "hashlib",
    "_hashlib",
    "hmac",
    "random",
    "tempfile",
    "zstandard",
    "guppy",
    "objgraph",
    "manhole",
    "liveheap_client",
    "concurrent",
}


def host_without_agent(stage: Stage, **env: str) -> Host:
    """Start a host that listens to nobody, whatever its environment says."""
    return Host(stage.spawn("agent_host", "plain", env=env))


def test_the_agents_footprint_is_one_thread_four_files_and_one_atexit(stage):
    without = start_host(stage, "plain", agent=False)
    bare = without.do(FOOTPRINT)
    host = start_host(stage, "plain")
    host.status()
    eventually(lambda: host.threads() == 2, what="the session's thread is gone")
    full = host.do(FOOTPRINT)
    assert full.pop("threads") == bare.pop("threads") + 1
    assert full.pop("files") <= bare.pop("files") + 4
    assert full.pop("atexit") == bare.pop("atexit") + 1
    assert full == bare


def test_the_agent_imports_nothing_beyond_its_list(stage):
    bare = set(start_host(stage, "plain", agent=False).do(MODULES))
    host = start_host(stage, "plain")
    host.status()
    host.request("gc")
    new = set(host.do(MODULES)) - bare
    assert not NEVER & {name.partition(".")[0] for name in new}
    foreign = {name.partition(".")[0] for name in new} - set(sys.stdlib_module_names)
    assert foreign <= {"liveheap", "msgpack", "cython_runtime", *cython_types(new)}


def cython_types(names: set[str]) -> set[str]:
    """Return the modules that Cython makes up for its own types."""
    return {name for name in names if name.startswith("_cython_")}


def test_importing_liveheap_imports_nothing(stage):
    host = start_host(stage, "plain", agent=False)
    before = set(host.do(MODULES))
    host.do("import liveheap")
    new = set(host.do(MODULES)) - before
    assert {name for name in new if name.startswith("liveheap")} == {"liveheap"}


def test_stop_undoes_all_and_start_works_again(stage):
    count = "import atexit; answer = atexit._ncallbacks()"
    host = start_host(stage, "plain")
    callbacks = host.do(count)
    with host.connect() as client:
        client.request("status")
        host.do("import liveheap; liveheap.stop()")
        assert client.socket.recv(10) == b""
    eventually(lambda: host.threads() == 1, what="no thread of ours is left")
    assert host.worker.sockets() == []
    files = host.descriptors()
    for _ in range(5):
        host.do("liveheap.start(strict=True)")
        assert host.status()["pid"] == host.pid
        host.do("liveheap.stop()")
    eventually(lambda: host.descriptors() == files, what="its files are closed")
    assert host.do(count) == callbacks
    assert host.do("answer = os.fork() or os._exit(0)")


def test_start_is_idempotent(stage):
    host = start_host(stage, "plain")
    instance = host.status()["instance"]
    host.do("import liveheap; liveheap.start(); liveheap.start(strict=True)")
    assert host.status()["instance"] == instance
    eventually(lambda: host.threads() <= 3, what="the session's thread is gone")


@pytest.mark.parametrize(
    "address", ["0.0.0.0:1", "192.0.2.1:80", "[::]:1", "example.org:1", "127.x:1", ":"]
)
def test_a_tcp_address_that_is_not_loopback_is_refused_and_the_worker_starts(
    address, stage
):
    host = start_host(stage, "plain", env={"LIVEHEAP_TCP": address})
    assert host.status()["pid"] == host.pid
    assert host.worker.stderr.count("\n") == 1
    assert "LIVEHEAP_TCP" in host.worker.stderr


def test_a_loopback_port_serves_with_the_token_and_never_without(stage):
    port = free_port()
    host = start_host(stage, "plain", env={"LIVEHEAP_TCP": f"127.0.0.1:{port}"})
    token = (host.worker.run_dir / "token").read_bytes()
    with socket.create_connection(("127.0.0.1", port), 30) as sock:
        assert shake_hands(sock, token).scope is Scope.GRAPH
    with (
        socket.create_connection(("127.0.0.1", port), 30) as sock,
        pytest.raises(AuthenticationError),
    ):
        shake_hands(sock, bytes(32))
    child = host.do("answer = os.fork() or (time.sleep(20), os._exit(0))")
    host.worker.wait_for_socket(child)
    assert len(host.worker.sockets()) == 2
    os.kill(child, 9)


def test_a_port_in_use_is_said_and_the_worker_goes_on(stage):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        host = start_host(stage, "plain", env={"LIVEHEAP_TCP": f"127.0.0.1:{port}"})
        assert host.status()["pid"] == host.pid
    assert "LIVEHEAP_TCP" in host.worker.stderr


@pytest.mark.parametrize(
    ("ceiling", "allowed", "refused"),
    [("read", "READ", "GRAPH"), ("values", "VALUES", "EXEC"), ("", "GRAPH", "VALUES")],
)
def test_the_environment_sets_the_ceiling_of_scopes(ceiling, allowed, refused, stage):
    env = {"LIVEHEAP_ALLOW": ceiling} if ceiling else {}
    host = start_host(stage, "plain", env=env)
    with host.connect(scope=Scope[allowed]) as client:
        ceiling = client.request("status").as_dict()["scope_ceiling"]
        assert ceiling == allowed.lower()
    with pytest.raises(AuthenticationError) as no:
        host.connect(scope=Scope[refused])
    assert no.value.code == "scope"


@pytest.mark.parametrize(
    "setting",
    ["LIVEHEAP_ALLOW=root", "LIVEHEAP_FORK_DELAY=soon", "LIVEHEAP_CHILDREN=perhaps"],
)
def test_a_setting_that_cannot_be_read_is_said_once_and_stays_closed(setting, stage):
    name, _, value = setting.partition("=")
    host = start_host(stage, "plain", env={name: value})
    assert host.status()["scope_ceiling"] == "graph"
    assert host.worker.stderr.count("\n") == 1
    assert name in host.worker.stderr


@pytest.mark.parametrize("switch", ["environment", "file", "override"])
def test_the_kill_switch_leaves_the_worker_alone(switch, stage):
    host = start_host(stage, "plain", agent=False)
    directory = host.worker.run_dir
    if switch == "file":
        (directory / "disabled").touch()
    code = "import liveheap; os.environ.pop('LIVEHEAP', None)\n"
    if switch == "environment":
        code += "os.environ['LIVEHEAP'] = '0'\n"
    host.do(code + f"liveheap.start(enabled={switch != 'override'}, strict=True)")
    assert host.worker.sockets() == []
    assert host.threads() == 1
    assert host.worker.stderr == ""


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda path: path.write_text("x"), id="a file"),
        pytest.param(lambda path: path.symlink_to(path.with_name("run")), id="a link"),
        pytest.param(
            lambda path: (path.mkdir(), path.chmod(0o755)), id="open to others"
        ),
        pytest.param(
            lambda path: (path.mkdir(mode=0o700), os.chown(path, 1234, 0)),
            id="somebody else's",
            marks=pytest.mark.skipif(
                os.geteuid() != 0, reason="gives a directory to another uid"
            ),
        ),
    ],
)
def test_an_unfit_directory_is_refused_in_words_and_the_worker_goes_on(make, stage):
    host = start_host(stage, "plain", agent=False)
    place = host.worker.run_dir.parent / "squatted"
    make(place)
    before = sorted(place.iterdir()) if place.is_dir() else []
    host.do(
        "import liveheap; os.environ.pop('LIVEHEAP', None)\n"
        f"os.environ['LIVEHEAP_DIR'] = {str(place)!r}\n"
        "liveheap.start()\nliveheap.start()"
    )
    assert host.do("answer = 1") == 1
    assert "no agent" in host.worker.stderr
    assert host.threads() == 1
    if place.is_dir():
        assert sorted(place.iterdir()) == before


def test_strict_raises_what_otherwise_is_only_said(stage):
    host = start_host(stage, "plain", agent=False)
    host.do(
        """
import liveheap
os.environ.pop("LIVEHEAP", None)
os.environ["LIVEHEAP_DIR"] = "/proc/nowhere"
try:
    liveheap.start(strict=True)
except Exception as exc:
    answer = type(exc).__name__
"""
    )
    assert "RunDirectoryError" in host.worker.said.decode()
    assert host.worker.stderr == ""


def test_a_setting_that_does_not_exist_is_a_mistake_in_words(stage):
    host = start_host(stage, "plain", agent=False)
    host.do("import liveheap; os.environ.pop('LIVEHEAP'); liveheap.start(colour=1)")
    assert "colour" in host.worker.stderr


def test_a_path_longer_than_a_socket_address_works(stage):
    host = start_host(stage, "plain", agent=False)
    place = host.worker.run_dir.parent / ("deep" * 25) / ("deeper" * 12)
    host.do(
        "import liveheap; os.environ.pop('LIVEHEAP')\n"
        f"liveheap.start(dir={str(place)!r}, strict=True)"
    )
    [path] = place.glob("*.sock")
    descriptor = os.open(place, os.O_PATH)
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(f"/proc/self/fd/{descriptor}/{path.name}")
    assert shake_hands(sock, (place / "token").read_bytes()).scope is Scope.GRAPH
    sock.close()
    os.close(descriptor)


def test_the_socket_and_its_facts_are_for_the_owner_alone(stage):
    host = start_host(stage, "plain", env={"LIVEHEAP_NAME": "billing"})
    host.status()
    modes = {
        path.name.partition(".")[2] or path.name: path.stat().st_mode & 0o777
        for path in host.worker.run_dir.iterdir()
    }
    assert set(modes.values()) == {0o600}
    assert host.status()["name"] == "billing"


def test_no_argument_of_the_command_line_is_shown(stage):
    worker = stage.spawn("agent_host", "plain", "--password=SECRET-1", "SECRET-2")
    host = Host(worker)
    facts = host.status()
    assert facts["program"] == "agent_host.py"
    shown = "".join(path.read_text() for path in worker.run_dir.glob("*.json"))
    assert "SECRET" not in str(facts) + shown


def test_a_fault_in_start_leaves_the_worker_as_it_was(stage):
    host = start_host(stage, "plain", agent=False)
    files = host.descriptors()
    host.do(
        """
import liveheap, liveheap.agent.start
os.environ.pop("LIVEHEAP", None)
def explode(*args):
    raise MemoryError("on purpose")
liveheap.agent.service.Listener = explode
liveheap.start()
"""
    )
    assert host.worker.sockets() == []
    eventually(lambda: host.threads() == 1, what="no thread of ours is left")
    assert host.descriptors() == files
    assert host.worker.stderr.count("\n") == 1


def test_a_worker_without_stderr_can_start_an_agent_that_fails(stage):
    host = start_host(stage, "plain", agent=False)
    host.do(
        "import liveheap; os.environ.pop('LIVEHEAP'); sys.stderr = None\n"
        "liveheap.start(dir='/proc/nowhere')\nliveheap.start(allow='nonsense')"
    )
    assert host.status()["scope_ceiling"] == "graph"


def test_the_audit_log_says_who_asked_what(stage):
    host = start_host(stage, "plain")
    with host.connect() as client:
        client.request("gc")
        list(client.answers(client.ask("snapshot", force=True)))
    host.status()
    log = host.worker.run_dir / "audit.log"
    eventually(lambda: log.read_text().count('"end"') == 2, what="both ends are told")
    text = log.read_text()
    for word in ('"start"', '"what": "gc"', '"what": "snapshot"', '"graph"'):
        assert word in text
    assert f'"uid": {os.geteuid()}' in text
    [taken] = [line for line in text.splitlines() if '"what": "snapshot"' in line]
    assert json.loads(taken)["pause_ns"] > 0
    assert json.loads(taken)["bytes_out"] > 100_000


def test_a_run_directory_that_vanishes_costs_audit_lines_and_nothing_else(stage):
    host = start_host(stage, "plain")
    with host.connect() as client:
        client.request("status")
        shutil.rmtree(host.worker.run_dir)
        assert client.request("gc").as_dict()["collected"] >= 0
        assert client.request("status").as_dict()["lost_audit_lines"] >= 1


def test_the_audit_log_is_bounded(tmp_path: Path):
    from liveheap.agent import audit

    log = audit.Audit("instance")
    log.path = str(tmp_path / "audit.log")
    for _ in range(5000):
        log.write("x", padding="y" * 1000)
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == 2
    assert max(sizes) <= audit.LIMIT_BYTES


def test_an_audit_log_that_is_a_pipe_holds_nobody_up(stage):
    host = start_host(stage, "plain")
    os.mkfifo(host.worker.run_dir / "audit.log")
    for _ in range(2):
        assert host.status()["pid"] == host.pid
    assert host.status()["lost_audit_lines"] >= 1


def test_the_version_is_that_of_the_distribution():
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert f'version = "{liveheap.__version__}"' in text
