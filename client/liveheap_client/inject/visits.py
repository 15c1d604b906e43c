"""The visits to a process that an injection takes: stop, look, do one thing, let go.

The first sends the thread into our code, at a moment that allows it. A second is made
where the string does not get its turn: the thread may have come to rest before its next
instruction, and then waits in a system call where it can be run at once. The last
clears up.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Literal

from liveheap_client.errors import InjectError
from liveheap_client.inject import stub
from liveheap_client.inject.elf import Mapping
from liveheap_client.inject.interpreter import Lock
from liveheap_client.inject.moment import (
    Fitness,
    Moment,
    NotOurs,
    fitness,
    in_handler,
    may_be_diverted,
    moment,
)
from liveheap_client.inject.process import Process
from liveheap_client.inject.room import Room, thread_lives
from liveheap_client.inject.tracee import Gone, Memory, Tracee
from liveheap_client.inside import status_of

Mode = Literal["auto", "pending", "direct"]
Way = Literal["pending", "direct"]

STOP_WITHIN_S = 1.0
TRY_FOR_S = 1.0
TRY_EVERY_S, TRY_AT_LEAST_EVERY_S = 0.002, 0.1
SETTLE_S = 0.25
CLEAR_WITHIN_S = 0.25
_STRICT = 1


@dataclass(frozen=True, slots=True)
class Facts:
    """What /proc says of a main thread."""

    state: str
    caught: int
    switches: int
    seccomp: int
    """With a filter, our code asks for nothing that an allocator does not ask for."""


class Visits:
    """The visits to one process, and for how long its main thread stood."""

    def __init__(
        self,
        target: Process,
        memory: Memory,
        room: Room,
        lock: Lock | None,
        maps: tuple[Mapping, ...],
    ) -> None:
        self._target = target
        self._memory = memory
        self._room = room
        self._lock = lock
        self._maps = maps
        self._libc = tuple(each for each in maps if _is_libc(each))
        self.stopped_ms: list[float] = []

    def begin(self, mode: Mode, until: float) -> Way:
        """Send the main thread into our code, as soon as a moment allows it.

        It is tried for a second even if there is no time to wait for what comes of it.

        Raises:
            InjectError: none has come, and nothing was done.
        """
        is_idle, pause = None, TRY_EVERY_S
        until = max(until, time.monotonic() + TRY_FOR_S)
        while time.monotonic() < until:
            way, waits = self._try(mode, is_idle)
            if way is not None:
                return way
            if waits and mode != "pending":
                is_idle = self._stays_idle()
            else:
                time.sleep(pause)
                pause = min(pause * 1.3, TRY_AT_LEAST_EVERY_S)
        raise InjectError(
            f"the main thread of process {self._target.pid} was met at no point where "
            "it could be given work" + (" at once" if mode == "direct" else ""),
            hint="try again in a moment",
        )

    def once_more(self) -> Way | None:
        """Try again what has been begun: it is run once, whoever comes first.

        The main thread may have come to rest before its next instruction; and 3.11 and
        3.12 can overlook that something is pending. Returns None if it is neither.
        """
        if self.facts().state == "R":
            return self._try("pending", None)[0]
        return self._try("direct", True)[0] if self._stays_idle() else None

    def clear(self) -> None:
        """Take away what is ours, if nobody can be in there."""
        until = time.monotonic() + CLEAR_WITHIN_S
        while time.monotonic() < until:
            page = self._room.page()
            if page.is_over and not thread_lives(self._target, page.tid):
                with self._stopped() as (tracee, now):
                    handles = self._is_in_handler(now)
                    if self._may_be_diverted(tracee, now) and not handles:
                        self._room.clear(tracee, now)
                        return
            time.sleep(TRY_EVERY_S)

    def facts(self) -> Facts:
        """Return what /proc says of the main thread now."""
        status = status_of(f"{self._target.pid}/task/{self._target.pid}")
        if status is None or not self._target.is_there():
            raise Gone
        return Facts(
            status["State"][0],
            int(status["SigCgt"], 16),
            int(status["voluntary_ctxt_switches"]),
            int(status.get("Seccomp", "0")),
        )

    @contextmanager
    def _stopped(self) -> Iterator[tuple[Tracee, Moment]]:
        facts = self.facts()
        if facts.seccomp == _STRICT:
            raise NotOurs("seccomp allows it next to no system call")
        tracee = Tracee(self._target.pid, self._memory)
        try:
            tracee.stop(STOP_WITHIN_S)
            if not self._target.is_there():
                raise Gone
            mask = tracee.signal_mask()
            now = moment(tracee.registers(), mask, facts.caught, self._memory)
            yield tracee, replace(now, wake=0) if facts.seccomp else now
        finally:
            with suppress(Gone):
                tracee.go()
            self.stopped_ms.extend(tracee.stopped_ms)

    def _try(self, mode: Mode, is_idle: bool | None) -> tuple[Way | None, bool]:
        """Return what was done, and whether the thread waits for something."""
        with self._stopped() as (tracee, now):
            if not self._may_be_diverted(tracee, now):
                return None, False
            handles = self._is_in_handler(now)
            fit = fitness(now, self._memory, lock=self._lock, in_handler=handles)
            way = _choose(fit, mode, is_idle)
            if way is not None:
                what = stub.DIRECT if way == "direct" else stub.PENDING
                self._room.enter(tracee, now, what, may_reuse=not handles)
            return way, fit.direct_if_idle

    def _may_be_diverted(self, tracee: Tracee, now: Moment) -> bool:
        return not self._room.is_entered(now) and may_be_diverted(
            now, self._memory, rseq=tracee.rseq(), maps=self._maps
        )

    def _is_in_handler(self, now: Moment) -> bool:
        """Whether it handles a signal: that one is blocked, then."""
        return bool(now.mask & now.caught) and in_handler(
            self._memory, now.registers.rsp, self._libc
        )

    def _stays_idle(self) -> bool:
        """Whether the thread sleeps on, and is not just waiting for the GIL.

        That wait ends every few milliseconds to ask for it again.
        """
        time.sleep(SETTLE_S / 5)
        before = self.facts()
        time.sleep(SETTLE_S)
        after = self.facts()
        return after.state == "S" and before.switches == after.switches


def _choose(fit: Fitness, mode: Mode, is_idle: bool | None) -> Way | None:
    if mode != "pending":
        if fit.direct or (fit.direct_if_idle and is_idle):
            return "direct"
        may_be_idle = fit.direct_if_idle and not fit.wakes and is_idle is None
        if mode == "direct" or may_be_idle:
            return None
    return "pending" if fit.pending else None


def _is_libc(mapping: Mapping) -> bool:
    name = mapping.path.rpartition("/")[2]
    is_static = mapping.start < 1 << 32
    return "x" in mapping.rights and (name.startswith(("libc", "ld-musl")) or is_static)
