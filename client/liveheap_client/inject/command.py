"""`liveheap inject PID`, and the question that `attach` asks: bring an agent in.

Needs no extra: it is run on the worker's machine, which may have the agent alone.
"""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from liveheap import registry
from liveheap_client import inside
from liveheap_client.errors import InjectError, UsageError
from liveheap_client.inject import ladder, process
from liveheap_client.inject.ladder import Arrival
from liveheap_client.inject.process import Process

YES = ("y", "yes")
_WAYS = {
    "manhole": "over the manhole that its program has opened",
    "remote_exec": "by sys.remote_exec, which stops nobody",
    "ptrace": "by ptrace, which stops its main thread for moments",
}


def inject(
    pid: int,
    *,
    yes: bool,
    agent: Path | None,
    say: Callable[[str], None],
    verb: str = "inject",
    environ: Mapping[str, str] = os.environ,
) -> Arrival | None:
    """Ask, and bring an agent into a process; None if it has one already.

    Raises:
        InjectError: no agent could be brought in, and why.
        UsageError: nobody said yes.
    """
    if has_agent(pid, environ):
        return None
    found = process.look(pid)
    if not yes:
        ask(found, say, verb)
    return ladder.bring(found, agent=agent, environ=environ, say=say)


def has_agent(pid: int, environ: Mapping[str, str]) -> bool:
    """Whether an agent of that process can be reached by its pid."""
    listed = any(entry.pid == pid for entry in registry.entries(environ))
    return listed or inside.entry_of(pid) is not None


def ask(found: Process, say: Callable[[str], None], verb: str) -> None:
    """Say what will be done, and go on only with a yes."""
    offered = ladder.ways(found)
    how = _WAYS[offered[0]] if offered else "by a way that is not there yet"
    say(
        f"process {found.pid} ({found.program}, Python {found.python}, "
        f"uid {found.uid}) has no agent."
    )
    say(
        f"One can be brought in {how}. Loading it takes the worker's main thread some "
        "hundredths of a second, bit by bit, or a tenth at a stretch if the worker has "
        f"a liveheap installed; liveheap detach {found.pid} takes it out."
    )
    if not (sys.stdin is not None and sys.stdin.isatty()):
        raise UsageError(
            "that needs a yes, and there is no terminal to ask at",
            hint=f"liveheap {verb} {found.pid} --yes",
        )
    print("Bring it in? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in YES:
        raise InjectError("nothing was done", hint="liveheap run -- CMD")


def summary(arrival: Arrival, *, is_to_leave: bool = False) -> list[str]:
    """Return what was done, in words."""
    pid = arrival.process.pid
    if arrival.way == "running":
        return [f"process {pid} has an agent already"]
    how = {"manhole": "over its manhole", "remote_exec": "by sys.remote_exec"}.get(
        arrival.way, "by ptrace"
    )
    stopped = "stopped nobody"
    if arrival.stopped_ms is not None:
        stopped = (
            f"its main thread stood still for {arrival.stopped_ms:.1f} ms at most "
            f"({arrival.mode})"
        )
    is_own = arrival.package == "its own"
    package = "its own liveheap" if is_own else "the agent brought"
    return [
        *(f"not by {refused}" for refused in arrival.refused),
        f"process {pid} has an agent now, {how}: {stopped}; loading {package} took it "
        f"{arrival.loading_s * 1000:.0f} ms, {arrival.longest_s * 1000:.0f} ms at a "
        "stretch",
        "it leaves with this shell"
        if is_to_leave
        else f"away with it again: liveheap detach {pid}",
    ]


def as_json(pid: int, arrival: Arrival | None) -> dict[str, Any]:
    """Return what was done, for programs."""
    if arrival is None:
        return {"pid": pid, "already": True}
    return {
        "pid": pid,
        "already": arrival.way == "running",
        "way": arrival.way,
        "mode": arrival.mode,
        "stopped_ms": arrival.stopped_ms,
        "loading_ms": round(arrival.loading_s * 1000, 1),
        "longest_ms": round(arrival.longest_s * 1000, 1),
        "package": arrival.package,
        "socket": arrival.socket,
        "python": str(arrival.process.python),
        "refused": list(arrival.refused),
    }
