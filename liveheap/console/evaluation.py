"""One evaluation: its output, its end, and how to interrupt it.

It is run by a thread or greenlet and watched by the session's thread. What it writes is
kept here until that sends it, up to a limit, and what exceeds the limit is dropped: so
a client that does not read slows nobody down, the evaluation included.

`claim` decides who has it: the one that runs it, or the one that has waited for that
long enough. In a forked child nobody can.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from liveheap.console.interpreter import Ending
from liveheap.errors import CommandError

try:
    from liveheap._heap import Interruption
except Exception:  # whatever it is: heap.py says so, and here nothing is interrupted
    Interruption = None  # type: ignore[assignment,misc]  # as if it were not there

CHUNK_CHARACTERS = 16 * 1024


class Output:
    """What was written and not yet taken; any thread may write, one takes."""

    def __init__(self, limit: int, ring: Callable[[], None]) -> None:
        self._left = limit
        self._pieces: deque[bytes] = deque()
        self._ring = ring
        self.written = 0
        self.truncated = False

    def write(self, text: str) -> None:
        """Add text, as far as there is room."""
        for at in range(0, len(text), CHUNK_CHARACTERS):
            if self.truncated:
                break
            part = text[at : at + CHUNK_CHARACTERS]
            data = part.encode("utf-8", "backslashreplace")
            if len(data) > self._left:
                whole = data[: self._left].decode("utf-8", "ignore")
                data, self.truncated = whole.encode(), True
            self._left -= len(data)
            self.written += len(data)
            self._pieces.append(data)
        self._ring()

    def take(self, limit: int) -> bytes:
        """Return what there is: about `limit` bytes at most."""
        taken: list[bytes] = []
        size = 0
        while self._pieces and size < limit:
            taken.append(self._pieces.popleft())
            size += len(taken[-1])
        return b"".join(taken)

    def close(self) -> None:
        """Take nothing any more."""
        self._left, self.truncated = 0, True


class Evaluation:
    """Code on its way."""

    def __init__(
        self,
        limit: int,
        lock: Callable[[], Any],
        release: Callable[[Evaluation], None],
    ) -> None:
        self._release = release
        self._bell = lock()
        self._bell.acquire()
        self._once = lock()
        self._pid = os.getpid()
        self._call = Interruption(do_nothing) if Interruption is not None else None
        self.output = Output(limit, self.ring)
        self.kill: Callable[[], object] | None = None
        self.begun = False
        self._interrupted = False
        self.is_over = False
        self.via = "console"
        self.doing = ""
        self.awaited_until: float | None = None
        self._began = time.monotonic()
        self._ending = Ending("error")

    def claim(self) -> bool:
        """Take it to run, or to give it up; true for one caller only."""
        return os.getpid() == self._pid and bool(self._once.acquire(False))

    def run(self, evaluate: Callable[[], Ending]) -> None:
        """Evaluate, interruptibly. Raises nothing."""
        self.begun = True

        def unless_interrupted() -> Ending:
            if self._interrupted:
                raise KeyboardInterrupt
            return evaluate()

        try:
            call = self._call.call if self._call is not None else _just_call
            self._ending = call(unless_interrupted)
        except BaseException as exc:
            self._ending = Ending("error", raised=type(exc).__name__)
            with suppress(BaseException):
                self.output.write(f"{type(exc).__name__}\n")

    def end(self) -> None:
        """Say that nothing more will come. For who has claimed it."""
        self._release(self)
        self.is_over = True
        self.ring()

    def ring(self) -> None:
        """Wake who waits."""
        with suppress(RuntimeError):
            self._bell.release()

    # What the session's thread does.

    def wait(self, seconds: float) -> None:
        """Return when something is to be taken or said, or the time is over.

        Raises:
            CommandError: `failed`, if who should run it has not come in time.
        """
        if not self.is_over:
            self._bell.acquire(True, seconds)
        late = self.awaited_until is not None and time.monotonic() > self.awaited_until
        if late and not self.begun and self.claim():
            self.end()
            raise CommandError(
                "failed",
                "the worker's main thread did not come: it sits in a call of C, or "
                "computes without a pause",
                hint="without %main it runs in the console's own thread",
            )

    def take(self, limit: int) -> bytes:
        """Return the next bytes of output."""
        return self.output.take(limit)

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in it, wherever it is."""
        if not self.begun and self.claim():
            self._ending = Ending("error", raised="KeyboardInterrupt")
            self.end()
            return
        self._interrupted = True
        heard = self._call is not None and self._call.interrupt(KeyboardInterrupt)
        if not heard and self.kill is not None and not self.is_over:
            with suppress(Exception):
                self.kill()

    def why_not_over(self) -> str:
        """Say why it may not heed an interrupt."""
        return (
            "it did not end: it sits in a call of C, such as a sleep, which nothing "
            "interrupts, or keeps the interrupt to itself"
        )

    def fields(self) -> tuple[tuple[str, str, Any], ...]:
        """Say how it ended."""
        ending = self._ending
        told: list[tuple[str, str, Any]] = [
            ("outcome", "text", ending.outcome),
            ("seconds", "seconds", round(time.monotonic() - self._began, 6)),
            ("bytes", "bytes", self.output.written),
            ("truncated", "bool", self.output.truncated),
            ("via", "text", self.via),
        ]
        if ending.raised is not None:
            told.append(("raised", "text", ending.raised))
        if ending.exit_code is not None:
            told.append(("exit_code", "count", ending.exit_code))
        return tuple(told)


def do_nothing() -> None:
    """Be there for an interrupt that came too late."""


def _just_call(evaluate: Callable[[], Ending]) -> Ending:
    return evaluate()
