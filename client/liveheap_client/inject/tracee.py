"""The ptrace calls, in the one way in which our own death does no harm.

A tracer that dies is detached from by the kernel, and the thread runs on with what it
has at that moment. So there is no step in here after which it may not:

- It is seized, not attached to, and without EXITKILL.
- It is never single-stepped: that flag would outlive us and kill it by a SIGTRAP.
- Stops are waited for with WNOWAIT. A wait that consumes the stop also forgets the
  signal that the thread was about to get; so that one is lost if we die before we hand
  it on. Left unconsumed it is delivered by the kernel.
- Stops at system calls are marked (SYSGOOD): what an unmarked one leaves behind when we
  die is a SIGTRAP.
- Registers are set in one call, from memory that was just touched.

The kernel ties a tracee to the thread that seized it, and lets it go when that thread
ends. That is the one way to let go of something that does not stop, so whoever traces
does so in a thread that it ends: `in_a_thread`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from functools import cache
from typing import Any, TypeVar

from liveheap_client.inject.elf import Garbage
from liveheap_client.patience import state

_POKEDATA, _CONT, _GETREGS, _SETREGS, _DETACH, _SYSCALL = 5, 7, 12, 13, 17, 24
_SEIZE, _INTERRUPT = 0x4206, 0x4207
_GETSIGMASK, _SETSIGMASK, _GET_RSEQ = 0x420A, 0x420B, 0x420F
_SYSGOOD = 1
_WALL = 0x40000000
_EVENT_STOP = 128
_PR_SET_TIMERSLACK = 29
_ENDS_WITHIN_S = 1.0
_BUSY_S = 20.0  # how much longer one may take that only waits for a processor
_LOOK_EVERY_S, _LOOK_EVERY_AT_MOST_S = 0.00002, 0.001

REGISTERS = (
    *("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8"),
    *("rax", "rcx", "rdx", "rsi", "rdi", "orig_rax", "rip", "cs", "eflags", "rsp"),
    *("ss", "fs_base", "gs_base", "ds", "es", "fs", "gs"),
)

T = TypeVar("T")


class Gone(Exception):
    """The process has ended, or is another by now."""


class Unstoppable(Exception):
    """It did not stop in time: it waits in the kernel, for a disk or a vfork."""


class Halted(Exception):
    """It was stopped meanwhile, by SIGSTOP or a terminal."""


class Stop(Enum):
    """Why a traced thread stands."""

    INTERRUPT = 1
    SYSCALL = 2
    HALT = 3
    SIGNAL = 4


class Registers(ctypes.Structure):
    """struct user_regs_struct of x86-64."""

    _fields_ = [(name, ctypes.c_ulonglong) for name in REGISTERS]

    def changed(self, **values: int) -> Registers:
        """Return a copy with other values."""
        copy = Registers.from_buffer_copy(self)
        for name, value in values.items():
            setattr(copy, name, value & 0xFFFFFFFFFFFFFFFF)
        return copy

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class Memory:
    """The memory of one process, and of no other that gets its number later."""

    def __init__(self, pid: int) -> None:
        self._fd = os.open(f"/proc/{pid}/mem", os.O_RDWR | os.O_CLOEXEC)

    def read(self, address: int, size: int) -> bytes:
        """Return exactly so many bytes.

        Raises:
            Garbage: they are not all there.
        """
        try:
            raw = os.pread(self._fd, size, address)
        except (OSError, OverflowError) as error:
            raise Garbage from error
        if len(raw) != size:
            raise Garbage
        return raw

    def write(self, address: int, raw: bytes) -> None:
        """Write all of it.

        Raises:
            OSError: it cannot be written there.
        """
        if os.pwrite(self._fd, raw, address) != len(raw):
            raise OSError(errno.EIO, "short write to /proc/PID/mem")

    def close(self) -> None:
        """Let it go."""
        os.close(self._fd)


class Tracee:
    """One thread of another process: seized by the thread that makes this."""

    def __init__(self, pid: int, memory: Memory | None = None) -> None:
        self._pid = pid
        self._memory = memory
        self._standing_since: float | None = None
        self.stopped_ms: list[float] = []
        self._ptrace(_SEIZE, data=_SYSGOOD)

    def stop(self, timeout: float) -> None:
        """Stop it.

        Raises:
            Unstoppable, Halted, Gone: it does not stand now.
        """
        self._standing_since = time.perf_counter()
        self._ptrace(_INTERRUPT)
        self._wait_for(Stop.INTERRUPT, _CONT, timeout)

    def stop_again(self, timeout: float) -> None:
        """Have it leave a system call for the kernel's look at signals, and no farther.

        There it stands as after `stop`, and whatever registers it gets are handled so.
        """
        self._ptrace(_INTERRUPT)
        self._ptrace(_CONT)
        self._wait_for(Stop.INTERRUPT, _CONT, timeout)

    def go(self) -> None:
        """Let it go, for good."""
        self._ptrace(_DETACH)
        if self._standing_since is not None:
            self.stopped_ms.append((time.perf_counter() - self._standing_since) * 1e3)

    def to_next_syscall_stop(self, timeout: float) -> None:
        """Run it to where it enters or leaves a system call."""
        self._ptrace(_SYSCALL)
        self._wait_for(Stop.SYSCALL, _SYSCALL, timeout)

    def registers(self) -> Registers:
        """Return the registers."""
        registers = Registers()
        self._ptrace(_GETREGS, data=ctypes.addressof(registers))
        return registers

    def set_registers(self, registers: Registers) -> None:
        """Set all of them at once."""
        copy = registers.changed()
        self._ptrace(_SETREGS, data=ctypes.addressof(copy))

    def signal_mask(self) -> int:
        """Return the signals it blocks; those of a ppoll that waits do not count."""
        mask = ctypes.c_uint64()
        self._ptrace(_GETSIGMASK, 8, ctypes.addressof(mask))
        return mask.value

    def set_signal_mask(self, value: int) -> None:
        """Set the signals it blocks."""
        mask = ctypes.c_uint64(value)
        self._ptrace(_SETSIGMASK, 8, ctypes.addressof(mask))

    def rseq(self) -> int:
        """Return where its restartable sequences are registered, or 0."""
        raw = (ctypes.c_uint64 * 3)()
        with suppress(OSError):
            self._ptrace(_GET_RSEQ, 24, ctypes.addressof(raw))
        return int(raw[0])

    def write_code(self, address: int, raw: bytes) -> None:
        """Write where the process itself may not.

        A kernel may forbid that through /proc/PID/mem, and allow a debugger's way.
        """
        memory = self._memory
        assert memory is not None
        try:
            memory.write(address, raw)
        except OSError:
            padded = raw + memory.read(address + len(raw), -len(raw) % 8)
            for at in range(0, len(padded), 8):
                word = int.from_bytes(padded[at : at + 8], "little")
                self._ptrace(_POKEDATA, address + at, word)

    def _wait_for(self, wanted: Stop, resume: int, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while True:
            stop, number = self._wait(deadline)
            if stop is wanted:
                return
            if stop is Stop.HALT:
                raise Halted
            self._ptrace(resume, data=number)

    def _wait(self, deadline: float) -> tuple[Stop, int]:
        """Return why it stands, and the signal that it is about to get."""
        flags = os.WSTOPPED | os.WEXITED | os.WNOWAIT | os.WNOHANG | _WALL
        pause = _LOOK_EVERY_S
        while True:
            try:
                found = os.waitid(os.P_PID, self._pid, flags)
            except ChildProcessError as error:
                raise Gone from error
            if found is not None:
                break
            late_s = time.monotonic() - deadline
            if late_s > 0 and not (late_s < _BUSY_S and state(self._pid) == "R"):
                raise Unstoppable
            time.sleep(pause)
            pause = min(pause * 1.2, _LOOK_EVERY_AT_MOST_S)
        if found.si_code != os.CLD_TRAPPED:
            raise Gone
        event, number = found.si_status >> 8, found.si_status & 0xFF
        if event == _EVENT_STOP:
            return (Stop.INTERRUPT if number == signal.SIGTRAP else Stop.HALT), 0
        if number == signal.SIGTRAP | 0x80:
            return Stop.SYSCALL, 0
        return Stop.SIGNAL, number

    def _ptrace(self, request: int, address: int = 0, data: int = 0) -> None:
        if _libc().ptrace(request, self._pid, address, data) == -1:
            number = ctypes.get_errno()
            if number == errno.ESRCH:
                raise Gone
            raise OSError(number, os.strerror(number))


def in_a_thread(run: Callable[[], T]) -> T:
    """Return what `run` returns in a thread of its own; its tracees go when it ends.

    Nobody needs to wait for that thread: it may die at any step.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def catch() -> None:
        _hurry()
        try:
            results.append(run())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=catch, name="liveheap-tracer", daemon=True)
    thread.start()
    thread.join()
    _wait_for_the_end_of(thread.native_id)
    if errors:
        raise errors[0]
    return results[0]


def _wait_for_the_end_of(thread: int | None) -> None:
    """Wait until the kernel has ended a thread, which is after Python has."""
    until = time.monotonic() + _ENDS_WITHIN_S
    while os.path.exists(f"/proc/self/task/{thread}") and time.monotonic() < until:
        time.sleep(_LOOK_EVERY_AT_MOST_S)


def _hurry() -> None:
    """Have this thread wake when it should, and first, while somebody stands for it."""
    _libc().prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -10)


@cache
def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.restype = ctypes.c_long
    libc.ptrace.argtypes = [
        ctypes.c_long,
        ctypes.c_long,
        ctypes.c_void_p,
        ctypes.c_void_p,
    ]
    return libc
