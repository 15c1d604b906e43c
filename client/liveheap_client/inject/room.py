"""What we have in a process while a string runs in it: a piece of code, and a page.

How they get there and what becomes of them if nobody takes them away: ptrace.py. An
earlier injection's piece that nobody took away is used again, once its page says that
nobody will come by there any more.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress

from liveheap_client.inject import stub
from liveheap_client.inject.elf import Garbage
from liveheap_client.inject.moment import Moment
from liveheap_client.inject.process import Process
from liveheap_client.inject.tracee import Memory, Registers, Tracee, Unstoppable
from liveheap_client.inside import status_of

STEP_WITHIN_S = 2.0
_MMAP, _MUNMAP = 9, 11
_READ_WRITE, _PRIVATE_ANONYMOUS = 3, 0x22
_DIRECTION_AND_TRAP = 0x500
# All but faults, and but what C libraries keep for themselves: 32, 33, 34.
_BLOCK = ~sum(1 << n - 1 for n in (4, 5, 7, 8, 11, 31, 32, 33, 34)) & (1 << 64) - 1
_STEPS_AT_MOST = 100
_NO_MEMORY_FROM = (1 << 64) - 4096


class NoRoom(Exception):
    """There is none; the message says of what kind."""


class Room:
    """The code and the page of one string in one process."""

    def __init__(
        self,
        target: Process,
        memory: Memory,
        functions: Mapping[str, int],
        slots: tuple[tuple[int, int | None], ...],
        *,
        code: str,
        own_thread: bool,
    ) -> None:
        self._target = target
        self._memory = memory
        self._functions = functions
        self._slots = slots
        self._code = code
        self._own_thread = own_thread
        self._xsave = _has_xsave()
        self._slot = 0
        self._address = 0
        self._unmap: list[tuple[int, int]] = []
        self._expected = 0

    @property
    def n_bytes(self) -> int:
        """How much memory of the process is ours."""
        code = stub.PAGE if self._slot else 0
        return code + sum(size for _, size in self._unmap)

    def enter(
        self, tracee: Tracee, moment: Moment, what: int, *, may_reuse: bool
    ) -> None:
        """Send the thread that stands into our code; it may go then.

        `may_reuse`: the room of an earlier injection, into which no handler of a signal
        can return.

        Raises:
            NoRoom: nothing has changed.
        """
        if self._address:
            self._enter_again(tracee, moment, what)
            return
        self._slot = self._free_slot(moment, may_reuse)
        size = stub.page_bytes(self._code)
        tracee.write_code(self._slot, self._cave(moment))
        arguments = {"rdi": 0, "rsi": size, "rdx": _READ_WRITE, "r8": -1, "r9": 0}
        arguments["r10"] = _PRIVATE_ANONYMOUS
        address = self._call(tracee, moment, what, rax=_MMAP, **arguments)
        if address >= _NO_MEMORY_FROM:
            self._put_back(tracee, moment)
            raise NoRoom("the kernel gives it no more memory")
        tracee.write_code(self._slot + 8, address.to_bytes(8, "little"))
        content = stub.page(
            address,
            self._code,
            pid=self._target.inner_pid,
            own_thread=self._own_thread,
        )
        self._memory.write(address, content)
        self._address, self._expected = address, 1
        self._unmap.append((address, size))

    def page(self) -> stub.Page:
        """Return what the page says.

        Raises:
            Garbage: it is no longer there.
        """
        return stub.read_page(self._memory.read(self._address, stub.HEAD_BYTES))

    def error(self) -> str | None:
        """Return what the string raised."""
        raw = self._memory.read(self._address, stub.page_bytes(self._code))
        return stub.error_of(self._code, raw)

    def is_entered(self, moment: Moment) -> bool:
        """Whether the thread stands in our code."""
        return bool(self._slot) and moment.is_within(self._slot, stub.SIZE)

    def clear(self, tracee: Tracee, moment: Moment) -> None:
        """Have the thread that stands unmap the page, and erase the code; it may go."""
        for address, size in list(self._unmap):
            tracee.write_code(self._slot, self._cave(moment))
            arguments = {"rax": _MUNMAP, "rdi": address, "rsi": size}
            self._call(tracee, moment, stub.ONLY_SYSCALL, **arguments)
            self._unmap.remove((address, size))
        self._put_back(tracee, moment)

    def _put_back(self, tracee: Tracee, moment: Moment) -> None:
        """Put the thread that stands in our code back to where it was, and erase that.

        For the kernel it is the stop in which it was found: it restarts the system call
        that was interrupted, or ends it by a signal, as it always does.
        """
        tracee.stop_again(STEP_WITHIN_S)
        tracee.set_signal_mask(moment.mask)
        tracee.set_registers(moment.as_found)
        tracee.write_code(self._slot, bytes(stub.SIZE))
        self._slot = self._address = 0

    def _enter_again(self, tracee: Tracee, moment: Moment, what: int) -> None:
        """Enter with the page that there is: its string is run once all the same."""
        self._expected += 1
        for at, value in ((stub.EXPECTED_AT, self._expected), (stub.INSIDE_AT, 1)):
            self._memory.write(self._address + at, value.to_bytes(4, "little"))
        tracee.write_code(self._slot, self._cave(moment))
        where = {"rip": self._slot + stub.FILLED, "rbx": self._address}
        tracee.set_registers(self._ours(moment, what, **where))
        tracee.set_signal_mask(moment.mask | _BLOCK)

    def _call(
        self, tracee: Tracee, moment: Moment, what: int, *, rax: int, **arguments: int
    ) -> int:
        """Have a system call made from within our code, and stop behind it.

        A signal of the C library's own may come first, whose handler makes others.
        """
        where = {"rip": self._slot + stub.ENTER, "rax": rax, **arguments}
        tracee.set_registers(self._ours(moment, what, **where))
        tracee.set_signal_mask(moment.mask | _BLOCK)
        n_stops = 0
        for _ in range(_STEPS_AT_MOST):
            tracee.to_next_syscall_stop(STEP_WITHIN_S)
            now = tracee.registers()
            if (now.rip, now.orig_rax) == (self._slot + stub.ENTERED, rax):
                n_stops += 1
                if n_stops == 2:  # it has entered, and left
                    return int(now.rax)
        raise Unstoppable

    def _ours(self, moment: Moment, what: int, **where: int) -> Registers:
        flags = moment.registers.eflags & ~_DIRECTION_AND_TRAP
        return moment.registers.changed(
            rsp=moment.stack, r12=what, eflags=flags, orig_rax=-1, **where
        )

    def _cave(self, moment: Moment) -> bytes:
        return stub.cave(
            at=self._slot,
            functions=self._functions,
            page=self._address,
            page_bytes=stub.page_bytes(self._code),
            masks=(moment.mask, moment.wake, _BLOCK),
            xsave=self._xsave,
            registers=moment.saved,
            resume=moment.resume,
            interrupted=moment.interrupted,
        )

    def _free_slot(self, moment: Moment, may_reuse: bool) -> int:
        for at, page in self._slots:
            if moment.is_within(at, stub.SIZE):
                continue
            if page is None or (may_reuse and (page == 0 or self._is_over(page))):
                return at
        raise NoRoom("no library of it has room for our code")

    def _is_over(self, address: int) -> bool:
        """Whether an earlier injection's page is done with; it goes with ours then."""
        try:
            raw = self._memory.read(address, stub.HEAD_BYTES)
        except Garbage:
            return True
        page = stub.read_page(raw)
        if not page.is_ours:
            return True
        if not page.is_over or thread_lives(self._target, page.tid):
            return False
        self._unmap.append((address, page.n_bytes))
        return True


def thread_lives(target: Process, tid: int) -> bool:
    """Whether a thread, not the main one, of that number in its namespace lives."""
    if tid in (0, target.inner_pid):
        return False
    with suppress(OSError):
        for each in os.listdir(f"/proc/{target.pid}/task"):
            status = status_of(f"{target.pid}/task/{each}") or {}
            if status.get("NSpid", each).split()[-1] == str(tid):
                return True
    return False


def _has_xsave() -> bool:
    with suppress(OSError), open("/proc/cpuinfo", encoding="ascii") as lines:
        for line in lines:
            if line.startswith("flags"):
                return " xsave " in f"{line.strip()} "
    return False
