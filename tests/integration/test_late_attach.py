"""Late attach where it is not plain: the command line, users, containers, places.

What every CPython has to do is in test_agent_late_attach.py; this is on the main one.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
from pathlib import Path

import pytest
from agent_host import Host
from command_line import liveheap
from late_attach import (
    ASLEEP,
    UNPREPARED,
    bare_python,
    bring,
    luggage_of,
    running,
    start_unprepared,
)
from spawn import eventually

from liveheap_client import inside
from liveheap_client.errors import InjectError
from liveheap_client.inject import command, ladder, luggage
from liveheap_client.inject.process import Python

NOBODY = 65534
ACCEPTS = 0x10000  # of the flags in /proc/net/unix
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
OURS = Python(sys.version_info[:2])  # type: ignore[arg-type]


def test_it_comes_again_as_if_it_had_not_been_there(stage):
    host = start_unprepared(stage, "plain")
    for _ in range(3):
        assert bring(host).package == "brought"
        host.request("detach")
        eventually(lambda: not host.worker.sockets(), what="it is gone")
        eventually(lambda: host.threads() == 1, what="its threads are gone")
    assert host.worker.stderr == ""


def test_the_command_line_brings_it_and_says_what_it_did(stage):
    host = start_unprepared(stage, "gevent")
    done = liveheap("inject", host.pid, "--yes", "--json", env=host.worker.environ)
    told = json.loads(done.stdout)
    assert told["pid"] == host.pid
    assert told["already"] is False
    assert told["package"] == "brought"
    assert told["loading_ms"] > 0
    assert Path(told["socket"]).parent == host.worker.run_dir
    again = liveheap("inject", host.pid, env=host.worker.environ)
    assert "already" in again.stdout
    gone = liveheap("detach", host.pid, env=host.worker.environ)
    assert "has left" in gone.stdout
    eventually(lambda: not host.worker.sockets(), what="it is gone")


def test_attach_brings_an_agent_for_as_long_as_its_shell_lasts(stage):
    host = start_unprepared(stage, "plain")
    done = liveheap(
        "attach", host.pid, "--yes", env=host.worker.environ, stdin="status\n"
    )
    assert "injected" in done.stdout
    assert f"the agent has left process {host.pid}" in done.stderr
    eventually(lambda: not host.worker.sockets(), what="it is gone")


def test_nothing_is_done_without_a_yes(stage):
    host = start_unprepared(stage, "plain")
    for verb in ("inject", "attach"):
        done = liveheap(verb, host.pid, env=host.worker.environ, expect=2)
        assert f"hint: liveheap {verb} {host.pid} --yes" in done.stderr
        assert "ptrace" in done.stderr
        assert f"process {host.pid} (" in done.stderr
    assert host.worker.sockets() == []


def test_an_agent_that_the_program_started_is_found_and_stays(stage):
    worker = stage.spawn("agent_host", "plain")
    worker.wait_for_socket()
    done = liveheap("inject", worker.pid, env=worker.environ)
    assert "already" in done.stdout
    refused = liveheap("detach", worker.pid, env=worker.environ, expect=5)
    assert "--force" in refused.stderr
    liveheap("detach", worker.pid, "--force", env=worker.environ)
    eventually(lambda: not worker.sockets(), what="it is gone")


def test_a_worker_that_has_liveheap_installed_uses_its_own(stage):
    worker = stage.spawn("agent_host", "plain", env=UNPREPARED)
    arrival = bring(Host(worker))
    assert arrival.package == "its own"
    assert Host(worker).status()["injected"] is True


@as_root
def test_another_user_s_worker_is_attached_to_and_asked_by_root():
    command_line = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}")
    words = (*command_line, "--clear-groups", bare_python(), "-I", "-c", ASLEEP)
    with running(*words) as worker:
        done = liveheap("inject", worker.pid, "--yes", env=os.environ)
        assert "has an agent now" in done.stdout
        status = liveheap("status", worker.pid, "--json", env=os.environ)
        assert json.loads(status.stdout)["injected"] is True
        assert luggage_of(worker.pid, NOBODY) == []
        folder = Path(f"/tmp/liveheap-{NOBODY}")
        assert (folder.stat().st_uid, folder.stat().st_mode & 0o777) == (NOBODY, 0o700)
        liveheap("detach", worker.pid, env=os.environ)


@as_root
def test_a_container_is_entered_by_its_outer_pid():
    mount = "mount -t tmpfs tmpfs /tmp && exec "
    inner = f"{mount} {bare_python()} -I -c {ASLEEP!r}"
    words = ("unshare", "--pid", "--mount", "--fork", "--mount-proc", "sh", "-c", inner)
    with running(*words) as shell:
        children = Path(f"/proc/{shell.pid}/task/{shell.pid}/children").read_text()
        pid = int(children.split()[0])
        try:
            liveheap("inject", pid, "--yes", env=os.environ)
            entry = inside.entry_of(pid)
            assert entry is not None
            assert (entry.pid, entry.inner_pid) == (pid, 1)
            status = liveheap("status", pid, "--json", env=os.environ)
            assert json.loads(status.stdout)["pid"] == 1
            liveheap("detach", pid, env=os.environ)
            eventually(lambda: inside.entry_of(pid) is None, what="it is gone")
        finally:
            os.kill(pid, signal.SIGKILL)


@as_root
@pytest.mark.parametrize(
    ("prepare", "place"),
    [
        ("mount -t tmpfs -o ro tmpfs /tmp", "/var/tmp"),
        ("mount -t tmpfs -o size=64k tmpfs /tmp", "/var/tmp"),
        (
            "mount -t tmpfs -o noexec tmpfs /tmp; mount -t tmpfs -o noexec tmpfs "
            "/var/tmp; mount -t tmpfs -o noexec tmpfs /dev/shm",
            "/tmp",
        ),
    ],
    ids=["read-only", "full", "nowhere executable"],
)
def test_another_place_is_found_where_tmp_will_not_do(prepare, place):
    inner = f"{prepare}; exec {bare_python()} -I -c {ASLEEP!r}"
    with running("unshare", "--mount", "sh", "-c", inner) as worker:
        arrival = command.inject(
            worker.pid, yes=True, agent=None, say=lambda _text: None, environ={}
        )
        assert arrival is not None
        assert arrival.socket.startswith(place)
        status = liveheap("status", worker.pid, "--json", env=os.environ)
        assert json.loads(status.stdout)["engine"] == "ok"
        liveheap("detach", worker.pid, env=os.environ)


def test_an_agent_comes_from_a_folder_or_a_wheel_that_was_named(stage, tmp_path):
    site = Path(luggage._folder_of("liveheap")).parent
    folder = tmp_path / "agent"
    for name in ("liveheap", "msgpack"):
        shutil.copytree(site / name, folder / name)
    host = start_unprepared(stage, "plain")
    assert bring(host, agent=folder).package == "brought"
    with host.connect() as client:
        _, chunks, _ = client.stream("snapshot")
    assert chunks
    host.request("detach")
    wheel = shutil.make_archive(str(tmp_path / "liveheap-0"), "zip", folder)
    packed = luggage.pack(OURS, Path(wheel))
    assert "liveheap/agent/injected.py" in packed.files
    assert not any(name.startswith("liveheap/agent/backend_c") for name in packed.files)
    with pytest.raises(InjectError, match=r"not built for Python 3\.15"):
        luggage.pack(Python((3, 15)), Path(wheel))


def listens(path: Path) -> bool:
    """Whether somebody accepts there; a socket has its name before it does."""
    lines = Path("/proc/net/unix").read_text("utf-8", "replace").splitlines()
    found = [line.split() for line in lines if line.endswith(f" {path}")]
    return any(int(flags, 16) & ACCEPTS for _, _, _, flags, *_ in found)


def test_a_manhole_is_used_where_the_worker_has_one(monkeypatch):
    monkeypatch.setitem(ladder.WAITS_S, "manhole", 60.0)
    program = f"import manhole; manhole.install(verbose=False); {ASLEEP}"
    with running(sys.executable, "-W", "ignore", "-c", program) as worker:
        path = Path(f"/tmp/manhole-{worker.pid}")
        eventually(lambda: listens(path), what="its manhole is open")
        arrival = command.inject(
            worker.pid, yes=True, agent=None, say=lambda _text: None, environ={}
        )
        assert arrival is not None
        assert (arrival.way, arrival.stopped_ms) == ("manhole", None)
        liveheap("status", worker.pid, env=os.environ)
        liveheap("detach", worker.pid, env=os.environ)
    path.unlink()  # as nobody does who is killed


def test_a_socket_of_that_name_that_is_somebody_else_s_is_told_nothing(stage):
    host = start_unprepared(stage, "plain")
    path = f"/tmp/manhole-{host.pid}"
    with socket.socket(socket.AF_UNIX) as impostor:
        impostor.bind(path)
        try:
            impostor.listen()
            arrival = bring(host)
            impostor.setblocking(False)
            client, _ = impostor.accept()
            with client:
                assert client.recv(1) == b""
        finally:
            os.unlink(path)
    assert arrival.way != "manhole"
    assert f"process {os.getpid()}" in arrival.refused[0]


def test_a_signal_s_handler_that_raises_into_the_loading_is_run_again(stage):
    host = start_unprepared(stage, "plain")
    host.do(
        """
import signal
def handler(number, frame):
    answer_to.append(frame.f_code.co_filename)
    raise SystemExit(number)
answer_to = []
signal.signal(signal.SIGUSR1, handler)
answer = 1
"""
    )
    script = Path(ladder.script.__file__).read_text()
    caught = host.do(
        f"""
space = {{"__name__": "liveheap_bootstrap"}}
exec({script!r}, space)
try:
    os.kill(os.getpid(), signal.SIGUSR1)
except BaseException as exc:
    again = space["send_again"](exc)
else:
    again = None
try:
    time.sleep(60)
except SystemExit as exc:
    answer = [again, len(answer_to), exc.code]
"""
    )
    assert caught == [True, 2, signal.SIGUSR1]
