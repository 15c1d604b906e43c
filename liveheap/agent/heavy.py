"""One heavy command at a time in a worker; the next is told at once who runs.

A command is heavy if it stops the worker or costs memory. There is no queue: a client
that waits unseen would find the worker changed when its turn comes.

Sending what was found is not heavy. A snapshot lets go of the worker as soon as its
walk is over, and its spool alone waits for the network: so a slow client keeps nobody
from asking, and how many spools may wait is bounded. Collections are bounded in time:
each stops the worker, and whoever may ask for one may ask again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from liveheap.agent.native import Native
from liveheap.commands import Step
from liveheap.errors import CommandError

MAX_SPOOLS = 2
COLLECT_EVERY_S = 10.0


class Hold:
    """The right to be the heavy command, until `release` or the end of the block."""

    def __init__(self, heavy: Heavy) -> None:
        self._heavy: Heavy | None = heavy

    def __enter__(self) -> Hold:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let the next one begin. May be called twice."""
        heavy, self._heavy = self._heavy, None
        if heavy is not None:
            heavy.let_go()


class Heavy:
    """The lock of heavy commands, what is known of its holder, and the other bounds."""

    def __init__(self, native: Native) -> None:
        self._lock = native.lock()
        self._holder: Any = None
        self._command = ""
        self._since = 0.0
        self._step = Step("")
        self._spools = 0
        self._collected: float | None = None

    def hold(self, command: str, holder: object) -> Hold:
        """Be the one, or raise `busy`."""
        if not self._lock.acquire(False):
            raise self._busy()
        self._holder, self._command = holder, command
        self._since, self._step = time.monotonic(), Step("start")
        return Hold(self)

    def let_go(self) -> None:
        """Be it no longer."""
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

    @contextmanager
    def spool(self) -> Iterator[None]:
        """Keep a spool within the block, or raise `busy`. Only while holding."""
        if self._spools >= MAX_SPOOLS:
            raise CommandError(
                "busy",
                f"{self._spools} snapshots are still on their way to other clients",
                hint="try again when one of them is done",
            )
        self._spools += 1
        try:
            yield
        finally:
            self._spools -= 1

    def may_collect(self) -> None:
        """Note a collection, or raise `busy` if the last one was a moment ago."""
        now = time.monotonic()
        last = self._collected
        if last is not None and now < last + COLLECT_EVERY_S:
            left = last + COLLECT_EVERY_S - now
            raise CommandError(
                "busy",
                f"the last collection was {now - last:.1f} s ago; "
                f"there is one per {COLLECT_EVERY_S:.0f} s",
                hint=f"try again in {left:.0f} s",
                detail={"retry_after": round(left, 1)},
            )
        self._collected = now

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
