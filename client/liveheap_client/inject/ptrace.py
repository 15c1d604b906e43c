"""Run a string of Python in a process that prepared nothing, by ptrace. Linux x86-64.

The main thread is stopped for some tenths of a millisecond; the other threads run on.
It is sent into a piece of machine code (csrc/stub.S), and from then on it needs nobody:
the code maps a page, calls the interpreter, puts every register, flag and signal mask
back and goes on where it was, in the system call that was interrupted, too. So whoever
injects may be killed at any moment, and the worker does not notice. How each step is
made so that it may be the last is said in tracee.py; these are the larger choices:

- The code lies in unused bytes behind the executable part of a library, between the end
  of its code and the end of that page. Nothing runs there, the write is the process's
  own copy of the page, and it needs no mapping that is writable and executable, which
  hardened systems refuse. A borrowed piece of living code would need to be put back.
- The page for the string is mapped by the thread itself, as the first thing that code
  does. We stop it behind that call, which is as harmless as any stop, and fill the
  page. If we die before that, the thread gives the page back.
- From the main thread's own work the string is called in one of two ways. pending: the
  interpreter is asked to run it between two of its own instructions, where it is
  always safe, however long a call into C takes until then. direct: the thread waits in
  a system call, and the string is run inside of that wait, with the GIL taken and
  given back. Either way once, whatever is tried, and never in a child that is forked in
  between. moment.py says which is possible when.
- Signals that arrive meanwhile are held back until the worker is itself again, and end
  its system call as they would have.

When all is done the thread is stopped once more to unmap the page, and the code is
erased. Where that is not safe they stay: 8 KiB.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from liveheap_client.errors import InjectError
from liveheap_client.inject import interpreter, process, stub
from liveheap_client.inject.elf import Garbage, Mapping, Module, modules, read_maps
from liveheap_client.inject.interpreter import Interpreter
from liveheap_client.inject.moment import NotOurs
from liveheap_client.inject.process import Process
from liveheap_client.inject.room import NoRoom, Room
from liveheap_client.inject.tracee import (
    Gone,
    Halted,
    Memory,
    Unstoppable,
    in_a_thread,
)
from liveheap_client.inject.visits import Mode, Visits, Way

Thread = Literal["main", "own"]

LOOK_AGAIN_S = 1.0
SAY_AFTER_S = 1.5
UNREADABLE = "the interpreter could not read it"


@dataclass(frozen=True, slots=True)
class Injection:
    """What was done.

    `ran` is True once the string has run to its end, with `error` what it raised, if
    anything; otherwise `waits` says in words what it waits for. It will run then, and
    once only, whether we are still there or not.
    """

    pid: int
    mode: Way
    thread: Thread
    stopped_ms: float
    """For how long the main thread stood, all stops together."""
    stops: int
    ran: bool
    waits: str | None = None
    error: str | None = None
    left_bytes: int = 0
    """Memory of ours that stays in the worker."""


def inject(
    pid: int,
    code: str,
    *,
    mode: Mode = "auto",
    thread: Thread = "main",
    timeout: float = 10.0,
    say: Callable[[str], None] = lambda text: None,
) -> Injection:
    """Run `code` once in the process; what it raises stays in it.

    `thread` says where: on the worker's main thread, between two of its instructions or
    while it waits in a system call, or on a native thread of its own. `timeout` bounds
    the wait for its end; `say` is told what it waits for if that takes longer than a
    moment.

    Raises:
        InjectError: nothing will run in the worker.
    """
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        raise InjectError(
            "a running process can be injected into on Linux x86-64 only, not on "
            f"{sys.platform} {os.uname().machine}",
            hint="start the agent in it: liveheap run -- CMD",
        )
    target = process.look(pid)
    until = time.monotonic() + timeout
    try:
        return in_a_thread(lambda: _Attempt(target, code, mode, thread).run(until, say))
    except (Gone, FileNotFoundError, ProcessLookupError) as error:
        raise process.gone(pid) from error
    except (Unstoppable, Halted, NotOurs, NoRoom, Garbage, OSError) as error:
        raise _refusal(target, error) from error


class _Attempt:
    """One string and one process, in the thread that traces."""

    def __init__(self, target: Process, code: str, mode: Mode, thread: Thread) -> None:
        self._target = target
        self._code = code
        self._mode: Mode = mode
        self._thread: Thread = thread

    def run(self, until: float, say: Callable[[str], None]) -> Injection:
        """Have it run, and wait until then or until it is too late."""
        memory = Memory(self._target.pid)
        try:
            maps = _maps(self._target.pid)
            python, slots = _survey(self._target, memory, maps)
            self._room = Room(
                self._target,
                memory,
                python.functions,
                slots,
                code=self._code,
                own_thread=self._thread == "own",
            )
            lock = python.pending_lock(memory)
            self._visits = Visits(self._target, memory, self._room, lock, maps)
            way = self._visits.begin(self._mode, until)
            way = self._wait(way, until, say)
            return self._outcome(way)
        finally:
            memory.close()

    def _wait(self, way: Way, until: float, say: Callable[[str], None]) -> Way:
        """Wait until it has run, or cannot; return the way it came at last."""
        began = time.monotonic()
        again_at, say_at = began + LOOK_AGAIN_S, began + SAY_AFTER_S
        pause = 0.0002
        while time.monotonic() < until:
            self._visits.facts()
            page = self._room.page()
            if page.is_over or page.has_failed:
                return way
            now = time.monotonic()
            if now >= again_at and not page.claimed and self._mode == "auto":
                way = self._visits.once_more() or way
                again_at = time.monotonic() + LOOK_AGAIN_S * 4
            if now >= say_at:
                say(self._waits_for(page))
                say_at = math.inf  # once
            time.sleep(pause)
            pause = min(pause * 1.5, 0.01)
        return way

    def _outcome(self, way: Way) -> Injection:
        page = self._room.page()
        if page.thread == stub.NO_THREAD:
            raise NoRoom("it can start no thread: a limit of its user or container")
        if page.stage == stub.NOT_INITIALIZED:
            raise NoRoom("its Python has not begun yet, or has ended")
        if page.has_failed:
            raise NoRoom("as many calls are pending in it as it takes")
        ran, error = page.stage == stub.DONE, None
        if ran:
            error = self._room.error() or (UNREADABLE if page.result else None)
            with suppress(Unstoppable, Halted, NotOurs, Gone, Garbage, OSError):
                self._visits.clear()
        return Injection(
            self._target.pid,
            way,
            self._thread,
            stopped_ms=round(sum(self._visits.stopped_ms), 3),
            stops=len(self._visits.stopped_ms),
            ran=ran,
            waits=None if ran else self._waits_for(page),
            error=error,
            left_bytes=self._room.n_bytes,
        )

    def _waits_for(self, page: stub.Page) -> str:
        """Say what a string that has not run to its end waits for."""
        state = self._visits.facts().state
        if page.stage == stub.BEGAN:
            return "it has begun, and has not come to its end"
        if state in "Tt":
            return "the process is stopped: it will run as soon as that goes on"
        if page.claimed:
            return "a call into C holds the GIL: it will run as soon as that ends"
        if state == "R":
            return "the main thread is in a call into C: it will run when that ends"
        return "the main thread waits: it will run as soon as that runs Python again"


def _maps(pid: int) -> tuple[Mapping, ...]:
    return read_maps(Path(f"/proc/{pid}/maps").read_bytes())


def _survey(
    target: Process, memory: Memory, maps: tuple[Mapping, ...]
) -> tuple[Interpreter, tuple[tuple[int, int | None], ...]]:
    """Return the process's Python, and where there is room for our code."""
    found = sorted(
        modules(memory, maps), key=lambda module: "python" not in module.path
    )
    python = interpreter.find(memory, found) or _static_python(target, memory, found)
    if python is None:
        is_32_bit = not found
        raise InjectError(
            f"process {target.pid} is a 32-bit program"
            if is_32_bit
            else f"the Python in process {target.pid} does not show its functions: it "
            "is linked statically, and stripped",
            hint="start the agent in it: liveheap run -- CMD",
        )
    errno_location = interpreter.errno_location(memory, found)
    if errno_location is not None:
        python.functions[stub.ERRNO] = errno_location
    return python, tuple(interpreter.slots(memory, found))


def _static_python(
    target: Process, memory: Memory, found: list[Module]
) -> Interpreter | None:
    """Return the Python that the executable is, by the symbols that are not loaded."""
    exe = f"/proc/{target.pid}/exe"
    with suppress(OSError):
        path = os.readlink(exe)
        fd = os.open(exe, os.O_RDONLY | os.O_CLOEXEC)
        try:
            for module in (each for each in found if each.path == path):
                return interpreter.find_in_file(memory, module, fd)
        finally:
            os.close(fd)
    return None


def _refusal(target: Process, error: Exception) -> InjectError:
    """Say why nothing was done, or could be."""
    pid = target.pid
    process.refuse_if_halted(target)
    if isinstance(error, PermissionError):
        return process.forbidden(pid)
    if isinstance(error, Unstoppable):
        return InjectError(
            f"the main thread of process {pid} cannot be stopped: it waits in the "
            "kernel, for a disk or for a child that a vfork has made",
            hint="try again in a moment",
        )
    if isinstance(error, Halted):
        return InjectError(
            f"process {pid} was stopped meanwhile; nothing was run in it",
            hint=f"let it go on first: kill -CONT {pid}",
        )
    if isinstance(error, Garbage):
        return InjectError(
            f"process {pid} has ended, or become another program, meanwhile",
            hint="liveheap ps",
        )
    return InjectError(
        f"process {pid} cannot be injected into: {error}",
        hint="start the agent in it: liveheap run -- CMD",
    )
