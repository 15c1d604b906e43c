"""One heavy command at a time in a worker; the next is told at once who runs.

And so many at once on the machine (slots.py), so many a minute, and what stops the
worker for longer than a fork (`gc`, `trim`) once in a while: liveheap/rails.py. Who is
told `busy` is told when to try again.

A command is heavy if it stops the worker or costs memory. There is no queue: a client
that waits unseen would find the worker changed when its turn comes.

Sending what was found is not heavy. A snapshot lets go of the worker as soon as its
walk is over, and its spool alone waits for the network (spools.py): so a slow client
keeps nobody from asking.
"""

from __future__ import annotations

import time
from typing import Any

from liveheap.agent.native import Native
from liveheap.agent.slots import Slots
from liveheap.commands import Step
from liveheap.errors import CommandError
from liveheap.rails import Rails

MINUTE_S = 60.0
OTHERS_S = 2.0


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

    def __init__(self, native: Native, rails: Rails) -> None:
        self.slots = Slots(rails.heavy_per_machine)
        self._rails = rails
        self._lock = native.lock()
        self._holder: Any = None
        self._command = ""
        self._since = 0.0
        self._step = Step("")
        self._begun: list[float] = []
        self._last: dict[str, float] = {}

    def hold(self, command: str, holder: object) -> Hold:
        """Be the one, or raise `busy`."""
        if not self._lock.acquire(False):
            raise self._busy()
        try:
            self._permit()
        except BaseException:
            self._lock.release()
            raise
        self._holder, self._command = holder, command
        self._since, self._step = time.monotonic(), Step("start")
        return Hold(self)

    def _permit(self) -> None:
        """Raise `busy` if the worker, or the machine, has had enough for now."""
        now = time.monotonic()
        self._begun = [each for each in self._begun if each > now - MINUTE_S]
        if len(self._begun) >= self._rails.heavy_per_minute:
            raise busy(
                f"{len(self._begun)} commands have burdened the worker within a "
                "minute, and its owner allows no more",
                self._begun[0] + MINUTE_S - now,
            )
        if not self.slots.take():
            raise busy(
                f"{self._rails.heavy_per_machine} such commands are running already "
                "in workers of this machine",
                OTHERS_S,
            )
        self._begun.append(now)

    def let_go(self) -> None:
        """Be it no longer."""
        self._holder, self._command = None, ""
        self.slots.give()
        self._lock.release()

    def note(self, holder: object, step: Step) -> None:
        """Remember how far the holder is."""
        if holder is self._holder:
            self._step = step

    @property
    def command(self) -> str | None:
        """What runs now, if anything."""
        return self._command or None

    def may_again(self, command: str, every_s: float) -> None:
        """Note a command that stops the worker, or raise `busy` if it was just done."""
        now, last = time.monotonic(), self._last.get(command)
        if last is not None and now < last + every_s:
            raise busy(
                f"the last {command} was {now - last:.1f} s ago; "
                f"there is one per {every_s:g} s",
                last + every_s - now,
            )
        self._last[command] = now

    def _busy(self) -> CommandError:
        running = self._command or "a heavy command"
        error = busy(f"{running} is running for another client", OTHERS_S)
        error.hint = "try again in a few seconds"
        error.detail |= {
            "command": running,
            "seconds": round(time.monotonic() - self._since, 3),
            "phase": self._step.phase,
            "done": self._step.done,
        }
        return error


def busy(message: str, retry_after_s: float) -> CommandError:
    """Return the "not now" that says when."""
    return CommandError(
        "busy",
        message,
        hint=f"try again in {max(retry_after_s, 1):.0f} s",
        detail={"retry_after": round(retry_after_s, 1)},
    )
