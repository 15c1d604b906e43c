"""How long the client waits for an agent, and what it says meanwhile.

An agent that is silent is mostly one whose process holds the GIL in a long C call, or
is stopped by a signal. So silence is first told to the person, with what the kernel
shows of a worker of this machine: soon, and then ever more rarely; and only after a
longer time it is an error. The clock starts anew with every byte.
"""

import sys
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from liveheap_client import outside
from liveheap_client.errors import TimedOut
from liveheap_client.transport.base import Transport

QUIET_S = 1.5
TIMEOUT_S = 60.0


def _say_nothing(_message: str) -> None:
    return


@dataclass(frozen=True, slots=True)
class Patience:
    """When to say that nothing comes, to whom, and when to give up."""

    timeout_s: float = TIMEOUT_S
    quiet_s: float = QUIET_S
    say: Callable[[str], None] = _say_nothing


def receive(
    transport: Transport,
    patience: Patience,
    *,
    pid: int | None,
    reason: Callable[[], str] | None = None,
) -> bytes:
    """Return the next bytes of a transport. `pid`: a worker of this machine.

    `reason` says why nothing may come, where that is not the agent's doing.

    Raises TimedOut if nothing came within the patience's timeout.
    """
    began, seen = time.monotonic(), None
    why = reason or (lambda: silence(pid))
    quiet_s = patience.quiet_s
    while True:
        left = patience.timeout_s - (time.monotonic() - began)
        if left <= 0:
            raise TimedOut(
                f"{why()} (waited {patience.timeout_s:g} s)", hint=remedy(pid)
            )
        try:
            return transport.receive(timeout=min(left, quiet_s))
        except TimedOut:
            waited = time.monotonic() - began
            quiet_s *= 2
            if waited < patience.timeout_s:
                patience.say(f"{why()}; waiting ({waited:.1f} s)")
                if pid is not None:
                    patience.say(outside.told(pid, seen))
                    seen = outside.glimpse(pid)


def is_stopped(pid: int | None) -> bool:
    """Return whether a process of this machine is stopped."""
    return pid is not None and state(pid) in ("T", "t")


def is_typed_unseen() -> bool:
    """Return whether the terminal hides what is typed: a password, mostly."""
    try:
        modes: int = termios.tcgetattr(sys.stdin.fileno())[3]
    except (OSError, ValueError, termios.error):
        return False
    return not modes & termios.ECHO


def remedy(pid: int | None) -> str:
    """Say what to try with a silent worker."""
    if is_stopped(pid):
        return f"let it go on: kill -CONT {pid}, or leave the debugger"
    who = f" {pid}" if pid is not None else ""
    return f"wait longer: --timeout SECONDS; or see why: liveheap doctor{who}"


def silence(pid: int | None) -> str:
    """Say why a worker may be silent."""
    if is_stopped(pid):
        return f"not answering: process {pid} is stopped (SIGSTOP or a debugger)"
    link = ", or the link be frozen" if pid is None else ""
    return f"not answering: the GIL may be held by a long call{link}"


def state(pid: int) -> str | None:
    """Return the one-letter state of a process of this machine; None if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return None
    return stat.rpartition(")")[2].split()[0]
