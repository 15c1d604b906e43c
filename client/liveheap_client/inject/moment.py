"""Where a stopped thread stands, how it would go on, and what may be done to it there.

A system call that waits was interrupted by the stop. The kernel would begin it again
once the thread runs; but it looks at the registers to see that, and those will be ours.
So our code ends by beginning it again itself, as the kernel would: the same number once
more, or `restart_syscall` where the call has a time limit, of which the kernel
remembers what is left. If a signal came meanwhile whose handler has run, the call must
end by EINTR instead: programs wait for signals that way. A wait for a lock ends so in
any case. Whoever waits there counts with that, and it is needed: the interpreter looks
for pending calls then; and while the main thread stands, the kernel gives signals of
the process to another thread, if there is one, for whose handlers the interpreter's
main thread would not look.

What may be done depends on whether the thread could be in the middle of something:

    direct    it waits in a system call that no allocator and no loader makes, so
              anything may be called, as in a function that the call had called
    pending   it may be anywhere; the one function that is called takes one lock, which
              must be free (interpreter.py)
    if idle   it waits for a lock, or in a call that we do not know: it may be inside
              malloc, and will not be for long. Direct, if it is still there later
    neither   it holds that lock, or is in a restartable sequence of instructions
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from liveheap_client.inject.elf import PAGE, Garbage, Reader
from liveheap_client.inject.elf import Mapping as MemoryMap
from liveheap_client.inject.interpreter import Lock
from liveheap_client.inject.stub import REGISTERS, Resume
from liveheap_client.inject.tracee import Registers

FUTEX = 202
# Those in which a thread waits for the world outside.
IDLE_CALLS = {
    0: "read",
    7: "poll",
    19: "readv",
    23: "select",
    34: "pause",
    35: "nanosleep",
    42: "connect",
    43: "accept",
    45: "recvfrom",
    47: "recvmsg",
    61: "wait4",
    128: "rt_sigtimedwait",
    130: "rt_sigsuspend",
    230: "clock_nanosleep",
    232: "epoll_wait",
    247: "waitid",
    270: "pselect6",
    271: "ppoll",
    281: "epoll_pwait",
    288: "accept4",
    299: "recvmmsg",
    441: "epoll_pwait2",
}
_RESTART_SYSCALL = 219
_EINTR, _ERESTARTSYS, _ERESTARTNOINTR = -4, -512, -513
_ERESTARTNOHAND, _ERESTART_RESTARTBLOCK = -514, -516
_RESTARTS = {_ERESTARTSYS, _ERESTARTNOINTR, _ERESTARTNOHAND, _ERESTART_RESTARTBLOCK}
_SYSCALL = b"\x0f\x05"
_USER_64 = 0x33
_STACK_AT_MOST = 64 << 20
_RED_ZONE = 128
_SCAN = 16 * 1024
# What a handler returns through, in glibc, in musl, and in either with other registers.
_SIGRETURNS = (
    b"\x48\xc7\xc0\x0f\x00\x00\x00\x0f\x05",
    b"\xb8\x0f\x00\x00\x00\x0f\x05",
)


@dataclass(frozen=True, slots=True)
class Fitness:
    """What may be done to the thread where it stands."""

    direct: bool = False
    direct_if_idle: bool = False
    wakes: bool = False
    """Its wait ends by the stop: if it is Python that waits, pending has its turn."""
    pending: bool = False


class NotOurs(Exception):
    """Such a thread cannot be handled, now or later; the message says why."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A thread that stands."""

    registers: Registers
    mask: int
    caught: int
    resume: Resume
    interrupted: Resume
    wake: int
    """The signals whose handlers end the call that waits."""
    waits_in: int | None
    """The number of the system call that the stop has interrupted."""
    in_syscall: int | None
    """The number of the one it was in, interrupted or just done."""

    @property
    def stack(self) -> int:
        """Where our own use of the thread's stack begins."""
        return int((self.registers.rsp - _RED_ZONE) & -64) - 64

    @property
    def as_found(self) -> Registers:
        """The registers for a stop like the one in which it was found."""
        if self.in_syscall != FUTEX:
            return self.registers
        rax, rip = self.resume.rax, self.resume.rip
        return self.registers.changed(rax=rax, rip=rip, orig_rax=-1)

    @property
    def saved(self) -> Mapping[str, int]:
        """The registers that are the same however it goes on."""
        return {name: getattr(self.registers, name) for name in REGISTERS}

    def is_within(self, start: int, size: int) -> bool:
        """Whether it executes something there."""
        return bool(start <= self.registers.rip < start + size)


def moment(registers: Registers, mask: int, caught: int, memory: Reader) -> Moment:
    """Return how a thread stands; `caught`: the signals that have a handler.

    Raises:
        NotOurs: it runs code that is not 64 bits wide.
    """
    if registers.cs != _USER_64:
        raise NotOurs("it runs 32-bit code")
    number, result = _signed(registers.orig_rax), _signed(registers.rax)
    here = Resume(registers.rax, registers.rip)
    if number < 0:
        return Moment(registers, mask, caught, here, here, 0, None, None)
    if result not in _RESTARTS:
        waits_in = number if result == _EINTR else None
        return Moment(registers, mask, caught, here, here, 0, waits_in, number)
    if _at(memory, registers.rip - 2, 2) != _SYSCALL:
        raise NotOurs("its system call was made in a way of 32-bit programs")
    has_rest = result == _ERESTART_RESTARTBLOCK
    if number == _RESTART_SYSCALL:
        number = _before_restart(memory, registers.rip - 2)
    again = Resume(_RESTART_SYSCALL if has_rest else number, registers.rip - 2)
    wake = 0 if result == _ERESTARTNOINTR else caught & ~mask
    eintr = Resume(_EINTR & (1 << 64) - 1, registers.rip)
    again = eintr if number == FUTEX else again
    return Moment(registers, mask, caught, again, eintr, wake, number, number)


def _before_restart(memory: Reader, syscall: int) -> int:
    """Return the number of the call that was restarted: it stands before it.

    C libraries write `mov eax, NUMBER` there, nearly always.
    """
    raw = _at(memory, syscall - 5, 5)
    return int.from_bytes(raw[1:], "little") if raw[:1] == b"\xb8" else _RESTART_SYSCALL


def may_be_diverted(
    moment: Moment, memory: Reader, *, rseq: int, maps: tuple[MemoryMap, ...]
) -> bool:
    """Whether the thread may execute something else here, and come back."""
    in_sequence = _in_sequence(memory, rseq, moment.registers.rip)
    return not in_sequence and _has_stack(moment.stack, maps)


def fitness(
    moment: Moment, memory: Reader, *, lock: Lock | None, in_handler: bool
) -> Fitness:
    """Return what may be done to a thread that may be diverted."""
    waits = moment.waits_in is not None and not in_handler
    if lock is not None:
        pending = lock.is_free(memory)
    else:
        pending = moment.in_syscall not in (None, FUTEX)
    direct = waits and moment.waits_in in IDLE_CALLS
    return Fitness(direct, waits, moment.waits_in == FUTEX, pending)


def in_handler(memory: Reader, stack: int, code: tuple[MemoryMap, ...]) -> bool:
    """Whether a signal's handler is on the stack, as far as it shows."""
    for size in (_SCAN, PAGE):
        raw = _at(memory, stack & -8, size - (stack & -8) % PAGE)
        if raw:
            break
    else:
        return True
    for (word,) in struct.iter_unpack("<Q", raw[: len(raw) // 8 * 8]):
        if any(each.start <= word < each.end for each in code):
            found = _at(memory, word, 9)
            if found.startswith(_SIGRETURNS):
                return True
    return False


def _in_sequence(memory: Reader, rseq: int, rip: int) -> bool:
    """Whether the kernel would have to know of it if the thread went elsewhere."""
    if not rseq:
        return False
    descriptor = int.from_bytes(_at(memory, rseq + 8, 8), "little")
    raw = _at(memory, descriptor, 32) if descriptor else b""
    if len(raw) != 32:
        return False
    start, length = struct.unpack_from("<QQ", raw, 8)
    return bool(start <= rip < start + length)


def _has_stack(stack: int, maps: tuple[MemoryMap, ...]) -> bool:
    """Whether there is room below: a main thread's own stack grows by itself.

    Of another, a signal handler's or a coroutine's, nobody knows the end.
    """
    return any(
        each.path == "[stack]" and each.end - _STACK_AT_MOST < stack < each.end
        for each in maps
    )


def _at(memory: Reader, address: int, size: int) -> bytes:
    """Return what is there, or nothing."""
    try:
        return memory.read(address, size)
    except Garbage:
        return b""


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
