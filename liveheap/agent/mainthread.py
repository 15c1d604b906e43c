"""Run something once on the main thread, asked from a thread of ours.

Three takers race for one lock, so exactly one of them runs it:

- the main thread's event loop, if it has one: gevent's hub or asyncio. It comes at
  once when idle, and not before the running greenlet yields when busy.
- a pending call of the interpreter: comes within milliseconds beside CPU-bound code,
  and never while the main thread sleeps in C.
- the calling thread itself, when the time is over.

Where there is no loop, a main thread that sleeps in C will not come, and finalizers
do not care who runs them: so the time is short there. Under gevent it is long even if
no hub was found: beside a CPU-bound greenlet the hub is not to be seen, and the pending
call has to share the interpreter.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from liveheap.agent.native import Native
from liveheap.errors import CommandError
from liveheap.hosts import asyncio_loop, gevent

T = TypeVar("T")

WITH_LOOP_S = 2.0
WITHOUT_LOOP_S = 0.06


class MainThread:
    """The way to the main thread of this process."""

    def __init__(
        self, native: Native, add_pending_call: Callable[[Callable[[], Any]], bool]
    ) -> None:
        self._native = native
        self._add_pending_call = add_pending_call

    def run(
        self,
        fn: Callable[[], T],
        timeout: float | None = None,
        *,
        else_here: bool = True,
    ) -> tuple[str, T]:
        """Run `fn` exactly once; return who did it and what came out.

        Raises:
            CommandError: `failed`, if nobody came and it shall not be done here.
            BaseException: whatever `fn` raised.
        """
        turn = Turn(fn, self._native)
        has_loop = self.post(turn.take)
        if timeout is None:
            timeout = WITH_LOOP_S if has_loop else WITHOUT_LOOP_S
        if not turn.done.acquire(True, timeout):
            turn.take("agent", refuse=None if else_here else nobody_came)
            turn.done.acquire()
        if turn.error is not None:
            raise turn.error
        return turn.via, turn.value

    def post(self, fn: Callable[[str], None]) -> bool:
        """Have `fn` called on the main thread with the way it came: by any number of
        ways, so perhaps twice, perhaps never. Return whether a loop runs there."""
        wake = waker(self._native.main_ident)
        if wake is not None:
            call, via = wake
            attempt(lambda: call(lambda: fn(via)))
        attempt(lambda: self._add_pending_call(lambda: fn("main")))
        return wake is not None or gevent.is_loaded()


class Turn:
    """One call that several may take and one runs.

    A fork in between leaves takers behind in the child, whose asker does not exist
    there: they look at the pid and let it be.
    """

    def __init__(self, fn: Callable[[], Any], native: Native) -> None:
        self._fn = fn
        self._pid = os.getpid()
        self._once = native.lock()
        self.done = native.lock()
        self.done.acquire()
        self.via = ""
        self.value: Any = None
        self.error: BaseException | None = None

    def take(self, via: str, refuse: Callable[[], Any] | None = None) -> None:
        """Run it, or what takes its place, unless somebody else has."""
        if os.getpid() != self._pid or not self._once.acquire(False):
            return
        try:
            self.via, self.value = via, (refuse or self._fn)()
        except BaseException as exc:
            self.error = exc
        finally:
            self.done.release()


def nobody_came() -> None:
    """Stand in for what only the main thread may do."""
    raise CommandError(
        "failed",
        "the worker's main thread did not come: it computes, or sits in a call of C",
        hint="try again",
    )


def waker(main_ident: int) -> tuple[Callable[[Callable[[], None]], Any], str] | None:
    """Return how to reach the main thread's loop, and its name, if it runs one."""
    call = gevent.find_waker(main_ident, None)
    if call is not None:
        return call, "hub"
    if not gevent.is_loaded() and not asyncio_loop.is_loaded():
        return None
    frame = sys._current_frames().get(main_ident)
    call = gevent.find_waker(main_ident, frame)
    if call is not None:
        return call, "hub"
    call = asyncio_loop.find_waker(frame)
    return (call, "loop") if call is not None else None


def attempt(step: Callable[[], Any]) -> None:
    """One way that fails leaves the others."""
    try:
        step()
    except Exception:
        return
