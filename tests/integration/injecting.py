"""Targets to inject into, and an injector that is killed at a step of one's choice."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType

import pytest
from spawn import eventually

from liveheap_client.errors import InjectError
from liveheap_client.inject import elf, interpreter, stub, tracee
from liveheap_client.inject.ptrace import inject

WORKER = Path(__file__).parent / "workers" / "inject_target.py"
ANSWERS_WITHIN_S = 60.0


class Target:
    """A process without agent that waits in the way of its kind, and answers."""

    def __init__(
        self, kind: str, *args: str, python: str = sys.executable, uid: int = 0
    ) -> None:
        self.kind = kind
        self.said_on_stderr = ""
        ours, theirs = socket.socketpair()
        with theirs, contextlib.ExitStack() as on_failure:
            self._ours = on_failure.enter_context(ours)
            self.process = subprocess.Popen(
                [python, "-X", "faulthandler", str(WORKER), kind, *args],
                stdin=theirs,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd="/",
                start_new_session=True,
                **({"user": uid, "group": uid, "extra_groups": []} if uid else {}),
            )
            on_failure.pop_all()
        self._hear(b"\n")

    @property
    def pid(self) -> int:
        return self.process.pid

    def answers(self, n: int = 1) -> None:
        """Check that it lives, and that its wait still ends as it should."""
        for _ in range(n):
            self._send(b"x")
            self._hear(b"x")

    def rests(self) -> None:
        """Wait until its main thread sleeps, and sleeps on."""
        seen: list[str] = []

        def sleeps_on() -> bool:
            status = Path(f"/proc/{self.pid}/task/{self.pid}/status")
            seen.append(status.read_text("utf-8"))
            return "State:\tS" in seen[-1] and seen[-1] in seen[:-1]

        eventually(sleeps_on, what=f"{self.kind} rests")

    def answers_and_says(self, more: bytes) -> None:
        """Check that it lives, and says something besides, before or after."""
        self._send(b"x")
        heard = b""
        while len(heard) <= len(more):
            assert self.process.stdout is not None
            assert select.select([self.process.stdout], [], [], ANSWERS_WITHIN_S)[0]
            heard += os.read(self.process.stdout.fileno(), 1) or b"(nothing)"
        assert sorted(heard) == sorted(b"x" + more)

    def hear(self, wanted: bytes) -> None:
        """Wait for what it says."""
        self._hear(wanted)

    def has_ours(self) -> bool:
        """Whether code or a page of an injection is in it."""
        memory = tracee.Memory(self.pid)
        try:
            maps = elf.read_maps(Path(f"/proc/{self.pid}/maps").read_bytes())
            slots = interpreter.slots(memory, list(elf.modules(memory, maps)))
            if any(page is not None for _, page in slots):
                return True
            blank = [each for each in maps if each.rights == "rw-p" and not each.path]
            return any(_is_ours(memory, each.start) for each in blank)
        finally:
            memory.close()

    def end(self) -> int:
        """End it, and return its exit code."""
        self._ours.close()
        try:
            code = self.process.wait(ANSWERS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        assert self.process.stderr is not None
        self.said_on_stderr = self.process.stderr.read().decode(errors="replace")
        return code

    def __enter__(self) -> "Target":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)  # what it has forked, too
        self.process.wait()
        self._ours.close()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def _send(self, data: bytes) -> None:
        try:
            self._ours.sendall(data)
        except OSError as error:
            raise AssertionError(f"{self.kind} is gone: {error}") from error

    def _hear(self, wanted: bytes) -> None:
        assert self.process.stdout is not None
        fd = self.process.stdout.fileno()
        if select.select([fd], [], [], ANSWERS_WITHIN_S)[0]:
            heard = os.read(fd, len(wanted))
            if heard == wanted:
                return
            if heard and wanted.startswith(heard):
                self._hear(wanted[len(heard) :])
                return
            code = self.process.wait(ANSWERS_WITHIN_S) if not heard else None
            raise AssertionError(
                f"{self.kind} said {heard!r}, exit {code}{self._stderr(code)}"
            )
        raise AssertionError(f"{self.kind} does not answer {wanted!r}")

    def _stderr(self, code: int | None) -> str:
        if code is None or self.process.stderr is None:
            return ""
        return "\n" + self.process.stderr.read().decode(errors="replace")


def skip_where_ptrace_is_refused() -> None:
    """Skip the tests, and say why, where the kernel allows nobody to be traced."""
    with Target("read") as target:
        try:
            inject(target.pid, "pass")
        except InjectError as error:
            if "cannot be traced" not in error.message:
                raise
            pytest.skip(f"ptrace is refused here: {error.message}")


def _is_ours(memory: tracee.Memory, address: int) -> bool:
    try:
        return stub.read_page(memory.read(address, stub.HEAD_BYTES)).is_ours
    except elf.Garbage:
        return False


class Injector:
    """Injects in processes of its own, which may be killed at any step they take.

    A step is a ptrace call, a wait or a write to the other's memory.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "inject_and_die.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def dies_at(
        self,
        step: int,
        pid: int,
        *,
        after: bool = True,
        mode: str = "auto",
        thread: str = "main",
        code: str = "pass",
    ) -> bool:
        """Inject, and die before or after that step; False if there are fewer."""
        order = {"step": step, "after": after, "pid": pid}
        return self._do({**order, "mode": mode, "thread": thread, "code": code})

    def dies_after(self, seconds: float, pid: int, code: str) -> bool:
        """Inject, and die so long after; False if it was done before."""
        order = {"step": 1_000_000, "after": False, "seconds": seconds}
        return self._do({**order, "pid": pid, "code": code})

    def _do(self, order: dict[str, object]) -> bool:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        ended = int(self._process.stdout.readline())
        assert ended in (0, -signal.SIGKILL), f"the injector failed: {ended}"
        return ended != 0

    def __enter__(self) -> "Injector":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()
