"""Late attach where nothing may come of it: each reason is said, and nothing stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import starting
from late_attach import (
    ASLEEP,
    bare_python,
    luggage_of,
    running,
    start_unprepared,
)
from spawn import Stage, eventually, stop

from liveheap.protocol.auth import Scope
from liveheap_client import patience
from liveheap_client.errors import InjectError, UsageError
from liveheap_client.inject import command, luggage, process
from liveheap_client.inject.process import Python

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
OURS = Python(sys.version_info[:2])  # type: ignore[arg-type]


def refusal(pid: int, **options: object) -> InjectError:
    """Return the reason why no agent comes into a process."""
    with pytest.raises(InjectError) as refused:
        command.inject(
            pid,
            yes=True,
            agent=options.get("agent"),  # type: ignore[arg-type]
            say=lambda _text: None,
            environ={},
        )
    assert refused.value.hint
    return refused.value


@as_root
def test_a_link_in_the_place_of_the_folder_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o700)
    prepare = "; ".join(
        f"mount -t tmpfs tmpfs {place}; ln -s {victim} {place}/liveheap-0"
        for place in ("/tmp", "/var/tmp", "/dev/shm")
    )
    # pytest's own folder is below /tmp: the link leads nowhere in there, and here.
    inner = f"{prepare}; exec {bare_python()} -I -c {ASLEEP!r}"
    with running("unshare", "--mount", "sh", "-c", inner) as worker:
        error = refusal(worker.pid)
    assert "a link" in str(error)
    assert list(victim.iterdir()) == []


def test_the_reason_is_said_where_a_process_cannot_have_one():
    gone = subprocess.Popen(["true"])
    eventually(
        lambda: "Z" in Path(f"/proc/{gone.pid}/stat").read_text().split(), what="ended"
    )
    assert "zombie" in str(refusal(gone.pid))
    gone.wait()
    assert "no process" in str(refusal(gone.pid))
    with running("sh", "-c", "sleep 600 & echo up; wait") as shell:
        assert "no CPython" in str(refusal(shell.pid))
        children = Path(f"/proc/{shell.pid}/task/{shell.pid}/children").read_text()
        os.kill(int(children), signal.SIGKILL)


def test_a_worker_that_stands_still_is_not_touched():
    with running(bare_python(), "-I", "-c", ASLEEP) as worker:
        stop(worker.pid)
        error = refusal(worker.pid)
    assert "stopped" in str(error)
    assert f"kill -CONT {worker.pid}" in str(error.hint)


def test_a_thread_s_number_leads_to_its_process(stage):
    host = start_unprepared(stage, "gevent")
    host.do("import gevent; gevent.get_hub().threadpool.apply(len, ((),)); answer = 1")
    threads = [int(tid) for tid in os.listdir(f"/proc/{host.pid}/task")]
    other = next(tid for tid in threads if tid != host.pid)
    assert f"thread of process {host.pid}" in str(refusal(other))


def test_the_kill_switch_holds():
    words = ("env", "LIVEHEAP=0", bare_python(), "-I", "-c", ASLEEP)
    with running(*words) as worker:
        error = refusal(worker.pid)
    assert "LIVEHEAP=0" in str(error)


def test_an_interpreter_that_does_not_fit_is_told_the_one_command():
    other = Python((3, 11 if OURS.minor != (3, 11) else 12))
    with pytest.raises(InjectError) as refused:
        luggage.pack(other, None)
    assert f"--python-version {other}" in str(refused.value.hint)
    assert f"--agent agent-{other}" in str(refused.value.hint)


@pytest.mark.parametrize("what", ["nothing", "text", "empty"])
def test_what_is_no_agent_is_refused(what, tmp_path):
    place = tmp_path / "agent.whl"
    if what == "text":
        place.write_text("no wheel")
    if what == "empty":
        place = tmp_path
    with pytest.raises(InjectError) as refused:
        luggage.pack(OURS, place)
    assert refused.value.hint


def test_a_wedged_interpreter_is_told_within_two_seconds():
    program = "print('up', flush=True); sum(range(10 ** 10))"
    with running(bare_python(), "-I", "-c", program) as worker:
        attempt = starting("inject", worker.pid, "--yes", env=os.environ)
        try:
            assert attempt.stderr is not None
            said = [attempt.stderr.readline()]
            began = time.monotonic()
            said += [attempt.stderr.readline() for _ in range(2)]
            took = time.monotonic() - began
        finally:
            attempt.send_signal(signal.SIGINT)
            attempt.wait(60)
            attempt.stderr.close()
            attempt.stdout.close()  # type: ignore[union-attr]
    assert "GIL" in said[1]
    assert "from outside: RSS" in said[2]
    assert patience.QUIET_S <= 2
    assert took < 20, f"{took:.1f} s: 1.5 to wait, and 0.2 to look"


def test_a_worker_that_ends_meanwhile_is_missed():
    program = "print('up', flush=True); import os; sum(range(3 * 10 ** 7)); os._exit(0)"
    with running(bare_python(), "-I", "-c", program) as worker:
        with pytest.raises(InjectError) as refused:
            command.inject(
                worker.pid, yes=True, agent=None, say=lambda _text: None, environ={}
            )
        worker.wait()
    assert refused.value.hint
    assert "ended" in str(refused.value)


def test_what_forbids_a_look_is_named(monkeypatch):
    states = {
        ("yama", "1"): "Yama (ptrace_scope 1)",
        ("yama", "3"): "no process to trace another",
        ("seccomp", "2"): "seccomp",
    }
    for (what, value), words in states.items():
        ours = {"CapEff": "0", "Seccomp": value if what == "seccomp" else "0"}
        monkeypatch.setattr(process, "status_of", lambda _pid, ours=ours: ours)
        yama = int(value) if what == "yama" else 0
        monkeypatch.setattr(process, "_number", lambda _path, yama=yama: yama)
        monkeypatch.setattr(process, "_owner", lambda _pid: os.geteuid())
        error = process.forbidden(4711)
        assert words in str(error)
        assert error.hint


def test_no_terminal_no_question():
    found = process.look(os.getpid())
    said: list[str] = []
    with pytest.raises(UsageError):
        command.ask(found, said.append, "inject")
    assert len(said) == 2
    assert Scope.READ.label == "read"


def test_the_luggage_goes_when_the_client_is_interrupted(stage: Stage):
    program = "print('up', flush=True); sum(range(10 ** 10))"
    with running(bare_python(), "-I", "-c", program) as worker:
        attempt = starting("inject", worker.pid, "--yes", env=os.environ)
        try:
            eventually(lambda: luggage_of(worker.pid), what="its luggage is there")
            attempt.send_signal(signal.SIGINT)
            attempt.wait(60)
        finally:
            attempt.stderr.close()  # type: ignore[union-attr]
            attempt.stdout.close()  # type: ignore[union-attr]
        assert attempt.returncode == 130
        eventually(lambda: not luggage_of(worker.pid), what="its luggage is gone")
        assert worker.poll() is None
