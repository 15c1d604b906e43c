"""The workers of this machine that have an agent: found, described, chosen.

The registry says who is there; /proc says how big and how old they are, without a word
to the agent. Standard library only: this runs on bare servers.
"""

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from liveheap import registry
from liveheap.registry import Entry
from liveheap_client import inside
from liveheap_client.errors import ConnectError, UsageError
from liveheap_client.patience import state

ZOMBIE = "Z"
START_HINT = (
    "start it with: liveheap run -- CMD, or call liveheap.start() in it; "
    "one that runs already gets one by: liveheap inject PID"
)


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker: its entry in the registry, and what /proc says now."""

    entry: Entry
    rss_bytes: int | None
    uptime_s: float | None

    @property
    def pid(self) -> int:
        return self.entry.pid

    def fact(self, name: str) -> Any:
        return self.entry.facts.get(name)

    @property
    def title(self) -> str:
        """Return one line that a person can choose by."""
        name = self.fact("name") or self.fact("program") or "?"
        return f"{self.pid} {name}"

    def to_json(self) -> dict[str, Any]:
        facts = {str(name): value for name, value in self.entry.facts.items()}
        return {
            **facts,
            "pid": self.pid,
            "start_time": self.entry.start_time,
            "socket": str(self.entry.socket),
            "rss": self.rss_bytes,
            "uptime": self.uptime_s,
        }


def local(environ: Mapping[str, str]) -> list[Worker]:
    """Return the workers of this machine, by pid; the dead whom nobody reaped aside.

    Raises ConnectError if LIVEHEAP_DIR is a place where no agent would put its socket.
    """
    chosen = environ.get("LIVEHEAP_DIR")
    if chosen and os.path.lexists(chosen) and not registry.own_directories(environ):
        raise ConnectError(
            f"LIVEHEAP_DIR={chosen} is not a directory that you alone can enter",
            hint=f"if it is yours: chmod 700 {chosen}",
        )
    entries = registry.entries(environ)
    if not chosen:
        listed = {(entry.pid, entry.start_time) for entry in entries}
        entries += [
            entry
            for entry in inside.entries()
            if (entry.pid, entry.start_time) not in listed
        ]
    found = [_described(entry) for entry in entries if state(entry.pid) != ZOMBIE]
    return sorted(found, key=lambda worker: worker.pid)


def by_pid(workers: Sequence[Worker], pid: int) -> Worker:
    """Return the worker of that pid, or raise an error that says what is there."""
    for worker in workers:
        if worker.pid == pid:
            return worker
    elsewhere = inside.entry_of(pid)
    if elsewhere is not None:
        return _described(elsewhere)
    raise _no_agent(pid)


def by_name(workers: Sequence[Worker], name: str) -> Worker:
    """Return the one worker of that name or program."""
    matching = [worker for worker in workers if name in _names(worker)]
    if not matching:
        raise ConnectError(
            f"no worker is called {name!r}", hint="liveheap ps lists what is there"
        )
    return only(matching)


def called(name: str, environ: Mapping[str, str]) -> bool:
    """Return whether a worker of this machine has that name; never an error."""
    with contextlib.suppress(ConnectError, OSError):
        return any(name in _names(worker) for worker in local(environ))
    return False


def only(workers: Sequence[Worker]) -> Worker:
    """Return the one worker, or raise an error that lists the candidates."""
    if not workers:
        raise ConnectError("no worker with an agent is running here", hint=start_hint())
    if len(workers) > 1:
        raise several([worker.title for worker in workers])
    return workers[0]


def several(titles: Sequence[str], *, place: str = "") -> UsageError:
    """Return the error that lists the workers a person may choose from."""
    listed = "\n".join(titles[:20])
    more = f"\n... {len(titles) - 20} more" if len(titles) > 20 else ""
    example = f"{place}/PID" if place else "PID"
    return UsageError(
        f"{len(titles)} workers to choose from:\n{listed}{more}",
        hint=f"name one of them as the target: {example}",
    )


def _described(entry: Entry) -> Worker:
    return Worker(entry, _rss_bytes(entry.pid), _uptime_s(entry.start_time))


def _names(worker: Worker) -> set[str]:
    program = str(worker.fact("program") or "")
    words = program.split()
    first = {os.path.basename(words[0]), words[0]} if words else set()
    return {program, str(worker.fact("name") or ""), *first} - {""}


def start_hint() -> str:
    """Return how a worker comes by an agent, and where it was looked for."""
    chosen = os.environ.get("LIVEHEAP_DIR")
    if not chosen:
        return START_HINT
    return (
        f"looked into LIVEHEAP_DIR={chosen} alone; is it the worker's too? "
        f"If it has no agent, {START_HINT}"
    )


def _no_agent(pid: int) -> ConnectError:
    found = state(pid)
    if found is None:
        return ConnectError(f"no process {pid} here", hint="liveheap ps")
    if found == ZOMBIE:
        return ConnectError(f"process {pid} has ended (a zombie)", hint="liveheap ps")
    leader = _thread_group(pid)
    if leader not in (None, pid):
        return ConnectError(
            f"{pid} is a thread of process {leader}", hint=f"use the target {leader}"
        )
    owner = os.stat(f"/proc/{pid}").st_uid
    if os.geteuid() not in (0, owner):
        return ConnectError(
            f"process {pid} belongs to another user (uid {owner})",
            hint="ask as that user: sudo -u USER liveheap ...",
        )
    return ConnectError(f"process {pid} has no liveheap agent", hint=inject_hint(pid))


def inject_hint(pid: int) -> str:
    """Say how an agent gets into a worker that has none."""
    return f"bring one in, without a restart: liveheap inject {pid}"


def _thread_group(pid: int) -> int | None:
    return _status_number(pid, "Tgid:")


def _status_number(pid: int, label: str) -> int | None:
    try:
        lines = Path(f"/proc/{pid}/status").read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    values = [line.split()[1] for line in lines if line.startswith(label)]
    return int(values[0]) if values else None


def _rss_bytes(pid: int) -> int | None:
    kib = _status_number(pid, "VmRSS:")
    return None if kib is None else kib * 1024


def _uptime_s(start_time: int) -> float | None:
    try:
        now = float(Path("/proc/uptime").read_text("ascii").split()[0])
    except (OSError, ValueError):
        return None
    return max(0.0, now - start_time / os.sysconf("SC_CLK_TCK"))
