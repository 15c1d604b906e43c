"""What a Python process offers to be called: its functions, and room for our code.

`Py_AddPendingCall` takes a lock, and it is called in the middle of whatever the main
thread does. Should that thread hold this very lock, it would wait for itself for ever.
So the lock is looked at while the thread stands. It is no part of any API: where it
lies is known for each version, and found again by what surrounds it where a patch
release has moved it. Not found, a pending call is made only where the thread stands in
a system call, which it never makes with that lock held.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from liveheap_client.inject import stub
from liveheap_client.inject.elf import (
    PAGE,
    Garbage,
    Module,
    Reader,
    Symbols,
    symbols_of_file,
    tails,
)

RUNTIME, VERSION = "_PyRuntime", "Py_Version"
_SLOT = 1024
_BLANKS = (b"\0", b"\xcc")
# Where the pending calls are: from _PyRuntime, or from the main interpreter, to which
# the first number leads.
_IN_INTERPRETER = {(3, 10): (40, 80), (3, 11): (48, 112)}
_IN_RUNTIME = {(3, 12): 2016, (3, 13): 2640, (3, 14): 2848, (3, 15): 2976}
_SEARCH = 1024
_N_CALLS = 32
_N_CALLS_313 = 300
_MAX_WAITERS = 100_000


@dataclass(frozen=True, slots=True)
class Lock:
    """The word that is a lock, and its value when nobody holds it."""

    address: int
    size: int
    free: int

    def is_free(self, memory: Reader) -> bool:
        """Whether nobody holds it now."""
        raw = memory.read(self.address, self.size)
        return int.from_bytes(raw, "little") == self.free


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The Python in a process."""

    functions: dict[str, int]
    module: Module
    version: tuple[int, int]
    runtime: int | None

    def pending_lock(self, memory: Reader) -> Lock | None:
        """Return the lock of the pending calls, if it is where it should be."""
        if self.runtime is None:
            return None
        with suppress(Garbage, struct.error):
            if self.version in _IN_RUNTIME:
                start = self.runtime + _IN_RUNTIME[self.version]
                kind = _semaphore_312 if self.version == (3, 12) else _mutex
                return _search(memory, start, kind)
            if self.version in _IN_INTERPRETER:
                to_main, to_pending = _IN_INTERPRETER[self.version]
                main = _word(memory, self.runtime + to_main)
                return _search(memory, main + to_pending, _semaphore)
        return None


def find(memory: Reader, candidates: list[Module]) -> Interpreter | None:
    """Return the Python that one of the modules is, by its dynamic symbols."""
    for module in candidates:
        with suppress(Garbage, struct.error):
            look = Symbols(memory, module)
            if look.find(stub.FUNCTIONS[0]) is None:
                continue
            wanted = (*stub.FUNCTIONS, RUNTIME, VERSION)
            found = {name: look.find(name) for name in wanted}
            return _interpreter(memory, module, found)
    return None


def find_in_file(memory: Reader, module: Module, fd: int) -> Interpreter | None:
    """Return the Python that a static executable is, by its file's symbols."""
    wanted = (*stub.FUNCTIONS, RUNTIME, VERSION, stub.ERRNO)
    with suppress(Garbage):
        return _interpreter(memory, module, symbols_of_file(fd, module, wanted))
    return None


def errno_location(memory: Reader, candidates: list[Module]) -> int | None:
    """Return the C library's function that says where errno is."""
    for module in candidates:
        with suppress(Garbage, struct.error):
            found = Symbols(memory, module).find(stub.ERRNO)
            if found is not None:
                return found
    return None


def slots(memory: Reader, candidates: list[Module]) -> Iterator[tuple[int, int | None]]:
    """Yield where there is room for our code.

    With each comes the page of an earlier injection whose code lies there, or None.
    """
    for module in candidates:
        for start, end in tails(module):
            for at in range(start, end - stub.SIZE + 1, _SLOT):
                with suppress(Garbage):
                    raw = memory.read(at, stub.SIZE)
                    page = stub.page_of(raw)
                    if page is not None or raw in [each * len(raw) for each in _BLANKS]:
                        yield at, page


def _interpreter(
    memory: Reader, module: Module, found: Mapping[str, int | None]
) -> Interpreter | None:
    functions = {name: at for name, at in found.items() if at is not None}
    if any(name not in functions for name in stub.FUNCTIONS):
        return None
    version = (3, 10)
    if VERSION in functions:
        number = int.from_bytes(memory.read(functions[VERSION], 4), "little")
        version = (number >> 24, number >> 16 & 0xFF)
    return Interpreter(functions, module, version, functions.get(RUNTIME))


_Look = Callable[[Reader, int], "Lock | None"]


def _search(memory: Reader, expected: int, look: _Look) -> Lock | None:
    """Return the lock nearest to where it is expected."""
    for step in range(0, _SEARCH, 8):
        for address in (expected + step, expected - step):
            with suppress(Garbage):
                found = look(memory, address)
                if found is not None:
                    return found
    return None


def _semaphore(memory: Reader, at: int) -> Lock | None:
    """3.10, 3.11: a pointer to a sem_t, the flags, the calls, first, last."""
    semaphore, to_do, asynchronous = struct.unpack("<Qii", memory.read(at, 16))
    first, last = struct.unpack("<ii", memory.read(at + 16 + 16 * _N_CALLS, 8))
    if to_do not in (0, 1) or asynchronous not in (0, 1):
        return None
    if not (0 <= first < _N_CALLS and 0 <= last < _N_CALLS):
        return None
    if semaphore % 8 or not PAGE <= semaphore < 1 << 47:
        return None
    value, waiters = struct.unpack("<II", memory.read(semaphore, 8))
    if value > 1 or waiters > _MAX_WAITERS:
        return None
    return Lock(semaphore, 4, 1)


def _semaphore_312(memory: Reader, at: int) -> Lock | None:
    """3.12: the same behind a flag."""
    (busy,) = struct.unpack("<Q", memory.read(at, 8))
    return _semaphore(memory, at + 8) if busy in (0, 1) else None


def _mutex(memory: Reader, at: int) -> Lock | None:
    """3.13 on: a PyMutex, how many are pending, may be, are run at once, and they."""
    _, mutex, pending, most, loop = struct.unpack("<QIiii", memory.read(at, 24))
    first, last = struct.unpack("<ii", memory.read(at + 24 + 24 * _N_CALLS_313, 8))
    if mutex > 3 or most != _N_CALLS or loop != 0 or not 0 <= pending <= most:
        return None
    if not (0 <= first < _N_CALLS_313 and 0 <= last < _N_CALLS_313):
        return None
    return Lock(at + 8, 1, 0)


def _word(memory: Reader, address: int) -> int:
    return int.from_bytes(memory.read(address, 8), "little")
