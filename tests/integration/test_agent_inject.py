"""A string gets into a process that prepared nothing, and the process stays as it was.

On each Python: the interpreter's functions, its lock and its thread states differ.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from injecting import Injector, Target, skip_where_ptrace_is_refused
from spawn import eventually

from liveheap_client.errors import InjectError
from liveheap_client.inject import elf, interpreter, room, tracee, visits
from liveheap_client.inject.ptrace import inject

SAY = "import os; os.write(1, b'#')"
FAIL = "raise ValueError('no \x1b[2J \\u202e\\ud800')"

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine != "x86_64",
    reason="injection is for Linux x86-64",
)


@pytest.fixture(scope="module", autouse=True)
def _ptrace_is_allowed() -> None:
    skip_where_ptrace_is_refused()


@pytest.fixture(autouse=True)
def _settles_fast_and_has_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visits, "SETTLE_S", 0.02)
    monkeypatch.setattr(visits, "STOP_WITHIN_S", 60.0)
    monkeypatch.setattr(visits, "CLEAR_WITHIN_S", 60.0)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("read", "direct"),
        ("epoll", "direct"),
        ("poll", "direct"),
        ("lock", "pending"),
        ("child", "direct"),
        ("compute", "pending"),
        ("gil", "pending"),
    ],
)
def test_a_string_runs_and_the_wait_goes_on(kind: str, mode: str) -> None:
    with Target(kind) as target:
        target.answers()
        if kind not in ("compute", "gil"):
            target.rests()
        # Who computes looks whether there is input; met in that, it waits for some.
        done = inject(target.pid, SAY, mode=mode if kind == "compute" else "auto")
        target.hear(b"#")
        target.answers(2)
        assert (done.ran, done.mode, done.left_bytes) == (True, mode, 0)
        assert done.error is None
        assert not target.has_ours()
        assert target.end() == 0


def test_it_can_run_in_a_thread_of_its_own_which_ends() -> None:
    is_own = (
        "import _thread, os\nnative = _thread.get_native_id()\n"
        "os.write(1, b'%d' % (os.getpid() != native))"
    )
    for kind in ("poll", "compute"):
        with Target(kind) as target:
            assert inject(target.pid, is_own, thread="own").ran
            target.hear(b"1")
            threads = f"/proc/{target.pid}/task"
            eventually(lambda at=threads: len(os.listdir(at)) == 1, what="it has ended")
            target.answers()


@pytest.mark.parametrize("kind", ["poll", "compute"])
def test_what_it_raises_stays_in_it_and_is_told(kind: str) -> None:
    with Target(kind) as target:
        failed = inject(target.pid, FAIL)
        assert failed.error == r"ValueError: no \x1b[2J \u202e\ud800"
        assert inject(target.pid, "raise SystemExit(3)").error == "SystemExit: 3"
        assert (inject(target.pid, "1 +").error or "").startswith("SyntaxError")
        inject(target.pid, "compile = exec = None; __name__ = 1")
        names = "import __main__, os; os.write(1, b'%d' % ('os' in vars(__main__)))"
        assert inject(target.pid, f"{names}; import sys; sys.stderr.flush()").ran
        target.hear(b"1")
        target.answers()
        assert target.end() == 0
        assert target.said_on_stderr == ""


@pytest.mark.parametrize("kind", ["poll", "compute"])
def test_an_injector_may_be_killed_at_any_step(kind: str) -> None:
    with Target(kind) as target, Injector() as injector:
        for step in (9, 11, 13, 14, 17, 19):
            assert injector.dies_at(step, target.pid)
            target.answers()
        done = inject(target.pid, SAY)
        assert (done.ran, done.left_bytes) == (True, 0)
        target.hear(b"#")
        target.answers()


@pytest.mark.parametrize("moment", ["enter", "clear"])
@pytest.mark.parametrize("kind", ["poll", "sleep", "lock"])
def test_a_signal_that_comes_while_it_stands_ends_its_wait(
    kind: str, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One signal for each target: two that wait at once are one to the kernel."""
    method = getattr(room.Room, moment)

    def hit(self: Any, *args: Any, **kwargs: Any) -> None:
        method(self, *args, **kwargs)
        os.kill(target.pid, signal.SIGUSR1)

    monkeypatch.setattr(room.Room, moment, hit)
    with Target(kind) as target:
        assert inject(target.pid, "pass").ran
        target.hear(b"!")
        target.answers()


def test_what_is_pending_runs_once_when_its_turn_comes() -> None:
    with Target("poll") as target:
        target.rests()
        waiting = inject(target.pid, SAY, mode="pending", timeout=0.05)
        assert not waiting.ran
        assert waiting.waits is not None
        assert "it will run " in waiting.waits
        assert waiting.left_bytes > 0
        assert inject(target.pid, "pass").left_bytes == 0
        target.answers_and_says(b"#")


def test_what_is_pending_runs_in_no_child_that_was_forked_before() -> None:
    fork = (
        "import os\nif not os.fork():\n [str(i) for i in range(1000)]\n os._exit(0)\n"
        "os.wait()"
    )
    with Target("poll") as target:
        target.rests()
        assert not inject(target.pid, SAY, mode="pending", timeout=0.05).ran
        assert inject(target.pid, fork).ran
        target.hear(b"#")
        target.answers()


def test_the_lock_that_is_looked_at_is_the_one_of_the_pending_calls() -> None:
    with Target("flood") as target:
        memory = tracee.Memory(target.pid)
        maps = elf.read_maps(Path(f"/proc/{target.pid}/maps").read_bytes())
        python = interpreter.find(memory, list(elf.modules(memory, maps)))
        assert python is not None
        lock = python.pending_lock(memory)
        assert lock is not None
        eventually(
            lambda: not all(lock.is_free(memory) for _ in range(1000)),
            what="the lock is held at times while the main thread takes and frees it",
        )
        memory.close()
        for _ in range(5):
            assert inject(target.pid, SAY).ran
            target.hear(b"#")
        target.answers()


def test_a_full_queue_is_said_and_what_is_in_it_not_disturbed() -> None:
    with Target("full") as target:
        target.hear(b"full")
        with pytest.raises(InjectError, match="as many calls are pending in it"):
            inject(target.pid, SAY, mode="pending")
        assert inject(target.pid, SAY).mode == "direct"
        target.hear(b"#")
        target.answers()
