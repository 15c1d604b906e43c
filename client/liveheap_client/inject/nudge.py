"""Stop the main thread of a process and let it go at once, and change nothing.

A wait in epoll ends by that, as by a signal that nobody handles: the interpreter comes
by its next safe point, looks what there is to do, and waits on.
"""

from __future__ import annotations

from liveheap_client.inject.tracee import (
    Gone,
    Halted,
    Tracee,
    Unstoppable,
    in_a_thread,
)

WITHIN_S = 0.5


def nudge(pid: int) -> bool:
    """Stop and go; False if the process may not be stopped, or does not stop."""
    try:
        return in_a_thread(lambda: _stop_and_go(pid))
    except (OSError, Gone, Halted, Unstoppable):
        return False


def _stop_and_go(pid: int) -> bool:
    tracee = Tracee(pid)
    try:
        tracee.stop(WITHIN_S)
    finally:
        tracee.go()
    return True
