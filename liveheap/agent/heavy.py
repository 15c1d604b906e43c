"""One heavy command at a time in a worker; the next is told at once who runs.

A command is heavy if it stops the worker or costs memory. There is no queue: a client
that waits unseen would find the worker changed when its turn comes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from liveheap.agent.native import Native
from liveheap.commands import Step
from liveheap.errors import CommandError


class Heavy:
    """The lock of heavy commands, and what is known of its holder."""

    def __init__(self, native: Native) -> None:
        self._lock = native.lock()
        self._holder: Any = None
        self._command = ""
        self._since = 0.0
        self._step = Step("")

    @contextmanager
    def hold(self, command: str, holder: object) -> Iterator[None]:
        """Be the one, or raise `busy`."""
        if not self._lock.acquire(False):
            raise self._busy()
        self._holder, self._command = holder, command
        self._since, self._step = time.monotonic(), Step("start")
        try:
            yield
        finally:
            self._holder, self._command = None, ""
            self._lock.release()

    def note(self, holder: object, step: Step) -> None:
        """Remember how far the holder is."""
        if holder is self._holder:
            self._step = step

    @property
    def command(self) -> str | None:
        """What runs now, if anything."""
        return self._command or None

    def _busy(self) -> CommandError:
        running = self._command or "a heavy command"
        return CommandError(
            "busy",
            f"{running} is running for another client",
            hint="try again in a few seconds",
            detail={
                "command": running,
                "seconds": round(time.monotonic() - self._since, 3),
                "phase": self._step.phase,
                "done": self._step.done,
            },
        )
