"""Where nothing can be injected, it is said why, nothing has happened, and soon."""

import ctypes
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from injecting import Target, skip_where_ptrace_is_refused
from spawn import eventually, state_of, stop

from liveheap_client.errors import InjectError
from liveheap_client.inject import interpreter, moment, ptrace, room, tracee
from liveheap_client.inject.nudge import nudge
from liveheap_client.inject.ptrace import inject

NOBODY = 65534
SYSTEMS_PYTHON = Path("/usr/bin/python3")


@pytest.fixture(scope="module", autouse=True)
def _ptrace_is_allowed() -> None:
    skip_where_ptrace_is_refused()


@pytest.fixture
def target() -> Iterator[Target]:
    with Target("poll") as target:
        target.rests()
        yield target
        target.answers()
        assert not target.has_ours()


def refusal(pid: int, **how: Any) -> InjectError:
    with pytest.raises(InjectError) as caught:
        inject(pid, "import os; os._exit(9)", **how)
    assert caught.value.hint
    return caught.value


def test_another_tracer_is_named(target: Target) -> None:
    tracer = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from liveheap_client.inject import tracee\n"
            f"held = tracee.Tracee({target.pid}, tracee.Memory({target.pid}))\n"
            "print(flush=True); sys.stdin.read()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with tracer:
        assert tracer.stdout is not None
        tracer.stdout.readline()
        said = refusal(target.pid).message
        assert f"is being traced already, by {tracer.pid} (python" in said
        assert tracer.stdin is not None
        tracer.stdin.close()


def test_a_stopped_process_stays_stopped(target: Target) -> None:
    stop(target.pid)
    assert "stopped" in refusal(target.pid).message
    assert state_of(target.pid) == "T"
    os.kill(target.pid, signal.SIGCONT)


def test_one_that_is_stopped_meanwhile_is_left_so(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    seize = tracee.Tracee.stop

    def stop(self: tracee.Tracee, timeout: float) -> None:
        os.kill(target.pid, signal.SIGSTOP)
        seize(self, timeout)

    with monkeypatch.context() as patch:
        patch.setattr(tracee.Tracee, "stop", stop)
        assert "stopped" in refusal(target.pid).message
    os.kill(target.pid, signal.SIGCONT)
    target.answers()
    assert inject(target.pid, "pass").ran  # and takes with it what that one has left


@pytest.mark.skipif(not hasattr(os, "posix_spawn"), reason="no vfork")
def test_a_parent_that_waits_for_its_vfork_is_let_go(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with Target("vfork", str(fifo)) as target:
        stat = Path(f"/proc/{target.pid}/stat")
        eventually(lambda: " D " in stat.read_text("utf-8"), what="it waits")
        began = time.monotonic()
        assert "vfork" in refusal(target.pid).message
        assert time.monotonic() - began < 20
        assert "TracerPid:\t0" in Path(f"/proc/{target.pid}/status").read_text("utf-8")
        with fifo.open("wb"):
            target.answers()


def test_a_kernel_that_forbids_ptrace_is_said_to(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing:
        def ptrace(self, *args: int) -> int:
            ctypes.set_errno(errno.EPERM)
            return -1

        def prctl(self, *args: int) -> int:
            return 0

    monkeypatch.setattr(tracee, "_libc", Refusing)
    assert "cannot be traced: " in refusal(target.pid).message


def as_nobody(run: str) -> str:
    """Run something as another user, to whom our Python's files may be closed."""
    drop = (
        "import encodings.ascii, os\n"
        "from liveheap_client.inject.ptrace import InjectError, inject\n"
        "os.setgid(65534)\nos.setuid(65534)\n"
    )
    command = [sys.executable, "-c", drop + run]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be two users")
def test_another_users_process_is_refused(target: Target) -> None:
    run = f"try: inject({target.pid}, '')\nexcept InjectError as error: print(error)"
    assert f"process {target.pid} belongs to another user (uid 0)" in as_nobody(run)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be another user")
@pytest.mark.skipif(not SYSTEMS_PYTHON.exists(), reason=f"no {SYSTEMS_PYTHON}")
def test_ones_own_process_needs_no_root() -> None:
    with Target("poll", python=str(SYSTEMS_PYTHON), uid=NOBODY) as target:
        assert "ran=True" in as_nobody(f"print(inject({target.pid}, 'pass'))")
        target.answers()


def test_what_is_no_python_has_ended_or_was_never_there_is_refused() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as cat:
        assert "no CPython process" in refusal(cat.pid).message
        cat.kill()
        eventually(
            lambda: "ended" in refusal(cat.pid).message, what="it counts as a zombie"
        )
    assert "no process" in refusal(cat.pid).message


def test_another_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    uname = list(os.uname())
    uname[4] = "aarch64"
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(uname))
    assert "on Linux x86-64 only, not on linux aarch64" in refusal(os.getpid()).message


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ((interpreter, "slots"), lambda *args: [], "has room for our code"),
        ((interpreter, "_interpreter"), lambda *args: None, "not show its functions"),
        ((room, "_MMAP"), 9999, "the kernel gives it no more memory"),
        ((moment, "_USER_64"), 0x23, "it runs 32-bit code"),
    ],
)
def test_what_is_missing_in_it_is_said(
    place: tuple[Any, str],
    value: object,
    said: str,
    target: Target,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(*place, value)
        assert said in refusal(target.pid).message


def test_a_pending_call_waits_for_the_lock_that_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Target("compute") as target:
        looks = []

        def is_free(self: interpreter.Lock, memory: object) -> bool:
            looks.append(self)
            return len(looks) > 2

        monkeypatch.setattr(interpreter.Lock, "is_free", is_free)
        assert inject(target.pid, "pass", mode="pending").ran
        assert len(looks) == 3
        target.answers()


def test_a_lock_that_cannot_be_found_leaves_system_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(interpreter.Interpreter, "pending_lock", lambda *args: None)
    with Target("sleep") as target:
        assert inject(target.pid, "pass").ran
        target.answers()


def test_a_process_that_ends_meanwhile_is_said_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    enter = room.Room.enter

    def killed(self: room.Room, *args: Any, **kwargs: Any) -> None:
        enter(self, *args, **kwargs)
        target.process.kill()

    monkeypatch.setattr(room.Room, "enter", killed)
    with Target("poll") as target:
        assert "ended" in refusal(target.pid).message


def test_a_nudge_changes_nothing() -> None:
    for kind in ("epoll", "lock", "compute"):
        with Target(kind) as target:
            assert nudge(target.pid)
            target.answers()
    assert not nudge(target.pid)


def test_a_process_with_a_seccomp_filter_is_asked_for_no_more_calls_than_it_makes() -> (
    None
):
    with Target("filtered") as target:
        target.rests()
        for thread in ("main", "own"):
            assert inject(target.pid, "pass", thread=thread).ran
        target.answers()


def test_all_that_waits_is_told_after_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ptrace, "SAY_AFTER_S", 0.01)
    told: list[str] = []
    with Target("poll") as target:
        target.rests()
        inject(target.pid, "pass", mode="pending", timeout=0.5, say=told.append)
        assert len(told) == 1
        assert "it will run " in told[0]
        target.answers()


def test_a_thread_is_no_process() -> None:
    with Target("lock") as target:
        ids = eventually(
            lambda: (
                set(map(int, os.listdir(f"/proc/{target.pid}/task"))) - {target.pid}
            ),
            what="it has another thread",
        )
        assert "is a thread of process" in refusal(ids.pop()).message
