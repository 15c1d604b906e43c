"""The workers of this machine as one list of facts: who descends from whom, how big
each is and what it does.

/proc gives what needs no word from the worker: size, age, state, parent. What a
process has to itself (USS), and what of its memory it still shares with the process it
was forked from, is in smaps_rollup: the kernel walks the page tables for it, some 40 us
per MiB, so all workers together get SMAPS_BUDGET_S and who does not fit goes without.
What runs in a worker only its agent knows; all agents are asked at once, if the library
of the wire's messages is installed. It is imported for that alone: a bridge has to
start quickly.

A row is plain data with the names that `ps --json` prints, because it also comes from a
bridge on another machine; a fact that is not known is None, or missing.
"""

import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from liveheap.protocol.results import Table
from liveheap_client import workers
from liveheap_client.workers import Worker

if TYPE_CHECKING:
    from liveheap_client.rollcall import Key, RollCall

ANSWER_WITHIN_S = 1.0
SMAPS_BUDGET_S = 0.12
SECONDS_PER_BYTE = 40e-6 / (1 << 20)
DEEPEST = 64

ANSWERS, REFUSED, SILENT, STOPPED = "answers", "refused", "silent", "stopped"
_COUNTED = frozenset(
    {b"Private_Clean", b"Private_Dirty", b"Shared_Dirty", b"Anonymous"}
)
_STOPPED_STATES = frozenset({"T", "t"})

Row = dict[str, Any]


@contextmanager
def calling(environ: Mapping[str, str]) -> Iterator["RollCall | None"]:
    """Lend what asks the agents; None where the wire's library is not installed."""
    try:
        from liveheap_client.rollcall import RollCall  # noqa: PLC0415 - see above
    except ImportError:
        yield None
    else:
        with RollCall(environ) as roll:
            yield roll


def local(environ: Mapping[str, str], roll: "RollCall | None") -> list[Row]:
    """Return a row for each worker of this machine, parents before their children.

    Raises ConnectError as `workers.local` does.
    """
    return take(workers.local(environ), roll)


def take(found: Sequence[Worker], roll: "RollCall | None") -> list[Row]:
    """Return a row for each worker, parents before their children."""
    stats = {worker.pid: _stat(worker.pid) for worker in found}
    asked = [worker for worker in found if not _is_stopped(stats[worker.pid])]
    told = roll.ask(asked, "tasks", deadline_s=ANSWER_WITHIN_S) if roll else {}
    memory = _memory(found)
    lines = {worker.pid: ancestors(worker.pid) for worker in found}
    rows = []
    for worker in found:
        row = worker.to_json()
        key = worker.pid, worker.entry.start_time
        row.update(_work(told.get(key)))
        row["state"] = _state(key, told, roll)
        if _is_stopped(stats[worker.pid]):
            row["state"] = STOPPED
        row["ancestors"] = lines[worker.pid]
        row["parent"] = next((pid for pid in lines[worker.pid] if pid in lines), None)
        row["uss"], row["shared"] = memory.get(worker.pid, (None, None))
        row["grown"] = _difference(row["rss"], row.get("settled_rss"))
        rows.append(row)
    return in_order(rows)


def in_order(rows: Sequence[Row]) -> list[Row]:
    """Return rows so that each tree is together, parents first; adds `depth`."""
    below: dict[int | None, list[Row]] = {}
    pids = set(map(_pid, rows))
    for row in rows:
        parent = row.get("parent")
        known = isinstance(parent, int) and parent in pids
        below.setdefault(parent if known else None, []).append(row)
    ordered: list[Row] = []
    todo = [(row, 0) for row in reversed(below.pop(None, []))]
    while todo or below:
        if not todo:  # a circle, which only a broken or hostile list has
            todo = [(row, 0) for row in below.pop(next(iter(below)))]
        row, depth = todo.pop()
        ordered.append({**row, "depth": depth})
        children = below.pop(_pid(row), [])
        todo += [(child, depth + 1) for child in reversed(children)]
    return ordered


def ancestors(pid: int) -> list[int]:
    """Return the processes that a process comes from, the nearest first."""
    found: list[int] = []
    while len(found) < DEEPEST:
        stat = _stat(found[-1] if found else pid)
        if stat is None or int(stat[1]) <= 1 or int(stat[1]) in found:
            break
        found.append(int(stat[1]))
    return found


def _memory(
    found: Sequence[Worker], clock: Callable[[], float] = time.perf_counter
) -> dict[int, tuple[int, int]]:
    """Return USS and what is shared with the parent, the small ones first."""
    known: dict[int, tuple[int, int]] = {}
    began, walked = clock(), 0
    for worker in sorted(found, key=lambda each: each.rss_bytes or 0):
        rss, spent = worker.rss_bytes or 0, clock() - began
        pace = spent / walked if walked > 64 << 20 else SECONDS_PER_BYTE
        if spent + rss * pace > SMAPS_BUDGET_S:
            break
        figures = _smaps(worker.pid)
        walked += rss
        if figures is not None:
            known[worker.pid] = figures
    return known


def _smaps(pid: int) -> tuple[int, int] | None:
    """Return private bytes, and anonymous ones that another process has as well.

    Pages of files that many processes map (libraries) are neither. None: not ours to
    read, or gone.
    """
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb", buffering=0) as file:
            lines = file.read().splitlines()[1:]
    except OSError:
        return None
    kib = {
        name: int(rest.split()[0])
        for name, _, rest in (line.partition(b":") for line in lines)
        if name in _COUNTED
    }
    private = kib.get(b"Private_Clean", 0) + kib.get(b"Private_Dirty", 0)
    shared = min(kib.get(b"Shared_Dirty", 0), kib.get(b"Anonymous", 0))
    return private * 1024, shared * 1024


def _stat(pid: int) -> list[bytes] | None:
    """Return the state, the parent and what follows in /proc/PID/stat."""
    try:
        raw = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = raw.rpartition(b")")[2].split()
    return fields if len(fields) > 1 else None


def _is_stopped(stat: Sequence[bytes] | None) -> bool:
    return stat is not None and stat[0].decode() in _STOPPED_STATES


def _state(key: "Key", told: Container["Key"], roll: "RollCall | None") -> str | None:
    """Return how a worker took the question; None if nobody asked."""
    if roll is None:
        return None
    if key in roll.refused:
        return REFUSED
    return ANSWERS if key in told else SILENT


def _work(answer: object) -> Row:
    """Return what runs, the longest first, and how much is done."""
    if not isinstance(answer, Table):
        return {}
    names = answer.as_dicts()
    running = [row for row in names if row.get("running")]
    running.sort(key=lambda row: -(row.get("longest") or 0))
    return {
        "running": sum(row["running"] for row in running),
        "done": sum(row.get("done") or 0 for row in names),
        "tasks": [
            {name: row.get(name) for name in ("task", "running", "longest")}
            for row in running
        ],
    }


def _pid(row: Row) -> int:
    """Return a row's process; one that a strange bridge left out is nobody's parent."""
    pid = row.get("pid")
    return pid if isinstance(pid, int) else -1


def _difference(now: object, before: object) -> int | None:
    if isinstance(now, int) and isinstance(before, int):
        return now - before
    return None
