"""The agent's raw threads: started, counted, and waited for.

Waited for because of the interpreter's end: a raw thread that wakes while the main
thread takes the interpreter apart touches freed memory (seen on 3.10). So whoever ends
the agent wakes all of its threads and lets them run out first.

No signal of the worker's comes to them: one that its threads have blocked, to wait for
it, would be handled here, where nobody blocks it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from liveheap.agent.native import Native, block_signals, native_id

LOOK_EVERY_S = 0.002


class Threads:
    """The threads of one agent in one process."""

    def __init__(self, native: Native) -> None:
        self._native = native
        self._alive: set[object] = set()
        self._ids: dict[object, tuple[int, int]] = {}

    def start(self, run: Callable[..., object], *args: Any) -> None:
        """Run something in a thread of its own; nothing it raises is seen.

        Raises:
            RuntimeError: no thread can be had.
        """
        token = object()
        self._alive.add(token)
        try:
            self._native.start_thread(self._run, (token, run, args))
        except BaseException:
            self._alive.discard(token)
            raise

    def ids(self) -> tuple[int, ...]:
        """Return the ids of those that run: the kernel's and, for 3.10, Python's."""
        return tuple(each for pair in list(self._ids.values()) for each in pair)

    def wait_until_none(self, timeout: float) -> bool:
        """Wait until all have ended; False if some have not in time."""
        deadline = time.monotonic() + timeout
        while self._alive:
            if time.monotonic() > deadline:
                return False
            self._native.sleep(LOOK_EVERY_S)
        return True

    def _run(
        self, token: object, run: Callable[..., object], args: tuple[Any, ...]
    ) -> None:
        self._ids[token] = (native_id(), self._native.ident())
        with suppress(BaseException):
            block_signals()
            run(*args)
        self._ids.pop(token, None)
        self._alive.discard(token)
