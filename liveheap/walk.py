"""A walk that is under way: the child, its spool, and how it ended.

The child's life waits for nobody here; whoever holds a HeapWalk reads the spool while
it grows or afterwards. Let the thread that started the walk live until it is closed:
the kernel kills a child of this kind together with the thread that cloned it.

How a walk ends, in words: every way has a reason, and only "done, and the walker says
complete" has none. A fault in the C code of a type (its tp_traverse or `__sizeof__`)
kills the child alone; the type is known, and if nobody has read the spool yet `wait`
starts once more without that type's code. What was left out stands in the flags.

A worker may fork while a walk is under way. An after-fork hook closes our descriptors
there, and makes the walk a foreign one: that process is not the child's parent. It is
registered with the first walk, once per process.

`child` is what the engine hands out: a process to wait for, with a page of status that
it shares with us. All its waiting is done without the GIL and without signals.
"""

import errno
import os
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

from liveheap import forks
from liveheap.errors import CommandError, EngineError
from liveheap.spool import Spool

KILL_GRACE_S = 2.0

_SIGNALS = {
    4: "SIGILL",
    6: "SIGABRT",
    7: "SIGBUS",
    8: "SIGFPE",
    9: "SIGKILL",
    11: "SIGSEGV",
    14: "SIGALRM",
    15: "SIGTERM",
    24: "SIGXCPU",
    31: "SIGSYS",
}
_CRASHES = frozenset({4, 6, 7, 8, 11})
_SIGKILL, _SIGALRM, _SIGSYS = 9, 14, 31

_WALK_FLAGS = {1: "gc-in-progress", 2: "subinterpreters", 4: "greenlets-hidden"}
_FENCE_FLAGS = {
    1: "no-oom-fence",
    2: "not-nice",
    4: "no-memory-fence",
    8: "no-spool-limit",
}

_EARLY_ENDS = {
    "orphan": "the worker, or the thread that asked, ended before the walk began",
    "files-open": "the child could not close the worker's files, so it did not walk",
    "signals-open": "the child could not reset its signals, so it did not walk",
    "no-watchdog": "the child could not set its watchdog, so it did not walk",
}


class Child(Protocol):
    """The engine's Child, as far as it is used here."""

    @property
    def pid(self) -> int: ...
    @property
    def pause_ns(self) -> int: ...
    def status(self) -> dict[str, Any]: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout_s: float, /) -> int | None: ...
    def kill(self) -> None: ...
    def forget(self) -> None: ...


Start = Callable[[Spool, int], Child]
"""Clone once more: into this spool, without the C code of the type at this address."""


@dataclass(frozen=True, slots=True)
class WalkProgress:
    """How far a walk is; raw_bytes may be read from the spool.

    `written` says that these are all: the child has only to end, which takes the kernel
    some milliseconds a gigabyte. Whether the walk is complete, its outcome says.
    """

    phase: str
    nodes: int
    raw_bytes: int
    written: bool
    done: bool


@dataclass(frozen=True, slots=True)
class WalkOutcome:
    """How a walk ended. `reason` is None if and only if it is complete."""

    complete: bool
    reason: str | None
    flags: tuple[str, ...]
    nodes: int
    edges: int
    bytes: int
    raw_length: int
    pause_ns: int
    walk_ns: int
    cpu_s: float
    pool_used: int = 0
    pool_free: int = 0
    malloc_used: int | None = None
    malloc_free: int | None = None
    malloc_mapped: int | None = None
    crashed_type: str | None = None
    crashed_address: int = 0


class HeapWalk:
    """A running or finished child and its spool; leaving it kills and reaps."""

    def __init__(
        self,
        start: Start,
        spool: Spool,
        *,
        timeout_s: float,
        without_type: int = 0,
        oom_kills: Callable[[], int] = lambda: 0,
        on_end: Callable[["HeapWalk", WalkOutcome], None] | None = None,
    ) -> None:
        self._start = start
        self._spool = spool
        self._timeout_s = timeout_s
        self._oom_kills = oom_kills
        self._oom_kills_before = oom_kills()
        self._on_end = on_end
        self._flags: list[str] = []
        self._was_read = False
        self._may_retry = without_type == 0
        self._cut_short: str | None = None
        self._outcome: WalkOutcome | None = None
        self._earlier_pauses_ns = 0
        self._is_foreign = False
        self._child = self._clone(without_type)
        self._keep_out_of_forks()

    def _clone(self, without_type: int) -> Child:
        child = self._start(self._spool, without_type)
        self._started = time.monotonic()
        return child

    @property
    def pid(self) -> int:
        """The walking process."""
        return self._child.pid

    @property
    def pause_ns(self) -> int:
        """How long the worker was stopped, in all."""
        return self._earlier_pauses_ns + self._child.pause_ns

    def status(self) -> dict[str, Any]:
        """The engine's own figures, for tests and benchmarks."""
        return self._child.status()

    def progress(self) -> WalkProgress:
        """Look at the shared page; no lock, no waiting."""
        if self._outcome is None:
            self._kill_if_overdue()
        status = self._child.status()
        return WalkProgress(
            phase=status["phase"],
            nodes=status["nodes"],
            raw_bytes=self._spool.size(),
            written=status["stage"] == "ended" and status["code"] == "complete",
            done=self._outcome is not None,
        )

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds without the GIL; True once the walk is over."""
        deadline = time.monotonic() + timeout
        while self._outcome is None:
            left = deadline - time.monotonic()
            overdue_in = (
                self._started + self._timeout_s + KILL_GRACE_S - time.monotonic()
            )
            code = self._child.wait(max(min(left, overdue_in), 0))
            if code is not None:
                self._end()
            elif not self._kill_if_overdue() and left <= 0:
                return False
        return True

    def kill(self) -> None:
        """End the walk; its outcome will be incomplete."""
        if self._outcome is None:
            self._cut_short = self._cut_short or "cancelled"
            self._may_retry = False
            self._child.kill()

    def read(self, offset: int, length: int) -> bytes:
        """Read records from the spool, which may still grow."""
        self._was_read = True
        return self._spool.read(offset, length)

    def outcome(self) -> WalkOutcome:
        """Say how it ended.

        Raises:
            EngineError: it has not, or the walk was closed before it had.
        """
        if self._outcome is None:
            raise EngineError("the walk has not ended: wait for it first")
        return self._outcome

    def close(self) -> None:
        """Kill the child if it lives, reap it, give the spool back. Repeatable."""
        _live_walks.discard(self)
        if self._outcome is None and not self._is_foreign:
            self.kill()
            self.wait(KILL_GRACE_S * 5)
        self._spool.close()

    def forget(self) -> None:
        """In a process forked meanwhile: drop our copies; it is not our walk there."""
        self._is_foreign = True
        self._child.forget()
        self._spool.close()

    def __enter__(self) -> "HeapWalk":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _kill_if_overdue(self) -> bool:
        """The watchdog on this side: a stopped child's own timer does not reach it."""
        overdue = time.monotonic() - self._started > self._timeout_s + KILL_GRACE_S
        if overdue and self._cut_short is None:
            self._cut_short = self._too_slow()
            self._may_retry = False
            self._child.kill()
        return overdue and self._cut_short is not None

    def _end(self) -> None:
        """The child was just reaped."""
        status = self._child.status()
        if self._retries_without(status):
            return
        reason = self._reason(status)
        crashed = status["signal"] in _CRASHES and status["type_address"] != 0
        self._outcome = WalkOutcome(
            complete=reason is None,
            reason=reason,
            flags=self._all_flags(status),
            nodes=status["nodes"],
            edges=status["edges"],
            bytes=status["bytes"],
            raw_length=self._spool.size(),
            pause_ns=self.pause_ns,
            walk_ns=max(status["ended_ns"] - status["started_ns"], 0),
            cpu_s=status["cpu_s"],
            pool_used=status["pool_used"],
            pool_free=status["pool_free"],
            **_of_malloc(status),
            crashed_type=status["type_name"] if crashed else None,
            crashed_address=status["type_address"] if crashed else 0,
        )
        if self._on_end is not None:
            self._on_end(self, self._outcome)

    def _retries_without(self, status: dict[str, Any]) -> bool:
        crashed = status["signal"] in _CRASHES and status["type_address"] != 0
        if not crashed or not self._may_retry or self._was_read:
            return False
        self._may_retry = False
        self._flags.append(f"without-type:{status['type_name']}")
        self._earlier_pauses_ns += self._child.pause_ns
        try:
            self._spool.empty()
            self._child = self._clone(status["type_address"])
        except CommandError:
            self._flags.pop()
            self._earlier_pauses_ns -= self._child.pause_ns
            return False
        return True

    def _all_flags(self, status: dict[str, Any]) -> tuple[str, ...]:
        fences = _names(_FENCE_FLAGS, status["missing_fences"])
        return (*walk_flags(status["flags"]), *fences, *self._flags)

    def _reason(self, status: dict[str, Any]) -> str | None:
        end, code = status["end"], status["code"]
        if end == "done" and code == "complete":
            return None
        if end == "signal":
            return self._signal_reason(status)
        if end == "done" and code == "write-failed":
            return _write_reason(status["system_error"], self._spool)
        if end == "done" and code == "no-memory":
            return "out of memory: the walk could not map its tables"
        if end == "done" and code == "table-full":
            return "more types than the walker has room for"
        return _EARLY_ENDS.get(end, f"the child ended with {end}, its walk with {code}")

    def _signal_reason(self, status: dict[str, Any]) -> str:
        number = status["signal"]
        name = _SIGNALS.get(number, f"signal {number}")
        where = f"in phase {status['phase']}, after {status['nodes']} objects"
        if number in _CRASHES:
            place = f"at type {status['type_name']}" if status["type_name"] else where
            return f"the child crashed ({name}) {place}"
        if number == _SIGALRM:
            return self._too_slow()
        if number == _SIGSYS:
            return "a seccomp filter killed the child (SIGSYS)"
        if number == _SIGKILL and self._cut_short is not None:
            return self._cut_short
        if number == _SIGKILL and self._oom_kills() > self._oom_kills_before:
            return f"out of memory: the kernel killed the child {where}"
        return f"the child was killed from outside ({name}) {where}"

    def _too_slow(self) -> str:
        return f"timeout: the walk was not done after {self._timeout_s:g} s"

    def _keep_out_of_forks(self) -> None:
        forks.in_child(_forget_walks)
        _live_walks.add(self)


_live_walks: weakref.WeakSet[HeapWalk] = weakref.WeakSet()


def _forget_walks() -> None:
    for walk in list(_live_walks):
        walk.forget()


def _write_reason(system_error: int, spool: Spool) -> str:
    written = f"{spool.size()} bytes in {spool.directory}"
    if system_error == errno.EFBIG:
        return f"spool-full: the spool reached its limit ({written})"
    if system_error in (errno.ENOSPC, errno.EDQUOT):
        return f"spool-full: no space left ({written})"
    return f"the spool could not be written: {os.strerror(system_error)} ({written})"


def _of_malloc(status: dict[str, Any]) -> dict[str, int]:
    """Return what the child found of malloc; nothing if it could not."""
    if not status["malloc_known"]:
        return {}
    names = ("malloc_used", "malloc_free", "malloc_mapped")
    return {name: status[name] for name in names}


def walk_flags(bits: int) -> tuple[str, ...]:
    """The walker's own flags, by name."""
    return _names(_WALK_FLAGS, bits)


def _names(table: dict[int, str], bits: int) -> tuple[str, ...]:
    return tuple(name for bit, name in table.items() if bits & bit)
