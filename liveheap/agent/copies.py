"""Making copies of the worker that run Python: one at a time, and until one answers.

Before the clone the import lock is taken, so that no other thread is in the middle of
importlib's tables. What may still be held by another thread are locks that nobody mends
in the copy, malloc's before all (csrc/copier.h): then the copy sleeps for ever before
it has said that it is ready. It is killed for that, and another one made (beside three
threads that never let go of malloc, one to eight of them); but not for being slow. It
stands behind everybody else for a processor, and on a machine where everything waits,
so does it; who kills it then has to begin anew. Which of the two it is, the kernel says
(pulse.py).

So whoever asked may have to wait. He is told so, and may leave at any time.
"""

from __future__ import annotations

import _imp
import _socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from liveheap.agent.copied import LOOK_EVERY_S, Copy
from liveheap.agent.pulse import Pulse
from liveheap.clone.inside import Program
from liveheap.commands.context import Heap
from liveheap.errors import CommandError

ATTEMPTS = 8
STILL_LOOKS = 10
COMES_UP_S = 120.0
IMPORT_LOCK_S = 2.0
ENDS_WITHIN_S = 1.0
FIRST_FREE = 3


class Copies:
    """The copies of one worker: one at a time, for each may come to cost its size."""

    def __init__(
        self,
        heap: Heap,
        sleep: Callable[[float], object],
        on_change: Callable[[], object] = lambda: None,
    ) -> None:
        self.on_change = on_change
        self._heap = heap
        self._sleep = sleep
        self._living: Copy | None = None

    def keeper(self) -> Keeper:
        """Return what keeps a session's copy."""
        return Keeper(self)

    @property
    def living(self) -> Copy | None:
        """The copy that lives, if there is one."""
        copy = self._living
        return copy if copy is not None and copy.lives else None

    @property
    def pid(self) -> int | None:
        """The process of the copy that lives."""
        copy = self.living
        return None if copy is None else copy.pid

    def facts(self) -> dict[str, Any]:
        """What `status` says of it, beside its process."""
        copy = self.living
        if copy is None:
            return {}
        return {
            "clone_memory": copy.memory()["own"],
            "clone_left": round(copy.left_s, 1),
        }

    def make(
        self, on_ready: Callable[[Copy], object], *, is_free: bool, **options: Any
    ) -> Coming:
        """Begin to make a copy that answers.

        Raises:
            CommandError: `busy`, `refused`, or `failed` with the reason.
        """
        deadline = time.monotonic() + ENDS_WITHIN_S
        while (living := self.living) is not None and time.monotonic() < deadline:
            self._sleep(LOOK_EVERY_S)  # its session may be about to end
        if living is not None:
            raise CommandError(
                "busy",
                f"a copy of this worker lives already, for another session: process "
                f"{living.pid}",
                hint=f"it ends with its session, or in {living.left_s:.0f} s",
                detail={"retry_after": round(living.left_s, 1)},
            )

        def welcome(copy: Copy) -> None:
            self._living = copy
            on_ready(copy)
            self.on_change()

        return Coming(lambda: self._attempt(is_free=is_free, **options), welcome)

    def _attempt(
        self, *, own_threads: frozenset[int], is_free: bool, **limits: Any
    ) -> Copy:
        near, far = _socket.socketpair()
        try:
            far = above_standard_files(far)
            program = Program(far, own_threads, is_free=is_free)
            with import_lock(self._sleep):
                made = self._heap.clone(
                    program, far.fileno(), may_write=is_free, **limits
                )
            return Copy(made, near)
        except BaseException:
            near.close()
            raise
        finally:
            far.close()


class Coming:
    """A copy on its way: attempt after attempt, until one answers."""

    def __init__(
        self, attempt: Callable[[], Copy], welcome: Callable[[Copy], object]
    ) -> None:
        self._attempt = attempt
        self._welcome = welcome
        self._failed = 0
        self._begin()

    def _begin(self) -> None:
        self._copy: Copy | None = self._attempt()
        self._pulse = Pulse(self._copy.pid)
        self._over_at = time.monotonic() + COMES_UP_S

    def wait(self) -> Copy | None:
        """Wait a moment; return the copy once it answers.

        Raises:
            CommandError: none comes up.
        """
        copy = self._copy
        assert copy is not None
        why = None
        try:
            if copy.look_if_ready():
                self._copy = None
                self._welcome(copy)
                return copy
        except CommandError as gone:
            why = gone.message
        if why is None and self._pulse.look() >= STILL_LOOKS << self._failed // 2:
            why = f"it slept at a lock ({self._pulse.where()})"
        if why is not None:
            self._again(why)
        elif time.monotonic() > self._over_at:
            raise no_copy(f"no processor for it within {COMES_UP_S:.0f} s")
        return None

    def _again(self, why: str) -> None:
        self.close()
        self._failed += 1
        if self._failed == ATTEMPTS:
            raise no_copy(why)
        self._begin()

    def close(self) -> None:
        """End what has not come up. May be called twice."""
        copy, self._copy = self._copy, None
        if copy is not None:
            copy.close()


def no_copy(why: str) -> CommandError:
    """Return what is told when the last attempt has failed."""
    return CommandError(
        "failed",
        f"no copy came up: {why}",
        hint="try again; `liveheap snapshot` needs no lock of the worker",
    )


class Keeper:
    """Keeps a session's copy, and ends it with the session."""

    def __init__(self, copies: Copies) -> None:
        self.copy: Copy | None = None
        self._copies = copies

    def make(self, **options: Any) -> Coming:
        """Begin to make the copy, in the place of the one there was."""
        self.close()
        return self._copies.make(self._keep, **options)

    def _keep(self, copy: Copy) -> None:
        self.copy = copy

    def close(self) -> None:
        """End it."""
        copy, self.copy = self.copy, None
        if copy is not None:
            copy.close()
            self._copies.on_change()


def above_standard_files(sock: _socket.socket) -> _socket.socket:
    """Return the socket under a number that stdin, stdout and stderr do not have."""
    low = []
    while sock.fileno() < FIRST_FREE:
        low.append(sock)
        sock = _socket.socket(fileno=_socket.dup(sock.fileno()))
    for each in low:
        each.close()
    return sock


@contextmanager
def import_lock(sleep: Callable[[float], object]) -> Iterator[None]:
    """Hold the import lock; it is held by others for moments only."""
    deadline = time.monotonic() + IMPORT_LOCK_S
    while _imp.lock_held():
        if time.monotonic() > deadline:
            raise CommandError(
                "busy",
                "a thread of the worker has held the import lock for "
                f"{IMPORT_LOCK_S:.0f} s",
                hint="try again in a moment",
            )
        sleep(LOOK_EVERY_S / 10)
    _imp.acquire_lock()
    try:
        yield
    finally:
        _imp.release_lock()
