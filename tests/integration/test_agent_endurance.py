"""Many sessions, many walks: the worker ends with what it began with.

A leak grows in every batch; an allocator that takes another arena does so in some.
So the batch that grew least is what counts.
"""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

from agent_host import Host, start_host
from caught_child import children
from spawn import eventually

# A hunt through the night is thousands; LIVEHEAP_ENDURANCE=10 makes this 2,000 and 300.
TIMES = int(os.environ.get("LIVEHEAP_ENDURANCE", "1"))
SESSIONS, SNAPSHOTS = 200 * TIMES, 30 * TIMES
BATCHES = 4
GROWTH_ALLOWED = (2 << 20) // BATCHES


def rss(pid: int) -> int:
    """Return the resident bytes of a process."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def session(host: Host) -> None:
    with host.connect() as client:
        client.request("status")
        client.request("histogram", top=5)


def snapshot(host: Host) -> None:
    with host.connect() as client:
        _, chunks, blob = client.stream("snapshot", force=True)
        assert blob.trailer["complete"]
        assert chunks


def broken_off(host: Host) -> None:
    """A client that leaves in the middle of a transfer."""
    with host.connect() as client:
        next(client.answers(client.ask("snapshot", force=True)))
    eventually(host.has_quiet_agent, what="its session ends")


def batch(host: Host) -> None:
    for number in range(SESSIONS // BATCHES):
        session(host)
        if number % (SESSIONS // SNAPSHOTS) == 0:
            snapshot(host)
            broken_off(host)
    eventually(host.has_quiet_agent, what="sessions end")


def test_sessions_and_walks_leave_nothing_behind(stage):
    host = start_host(stage, "plain", env={"LIVEHEAP_HEAVY_PER_MINUTE": "600"})
    with host.unharmed():
        for warm_up in (session, snapshot, broken_off):
            for _ in range(5):
                warm_up(host)
        eventually(host.has_quiet_agent, what="sessions end")
        objects_before, sizes = objects(host), [rss(host.pid)]
        for _ in range(BATCHES):
            batch(host)
            sizes.append(rss(host.pid))
    assert objects(host) - objects_before < 200
    assert min(b - a for a, b in pairwise(sizes)) < GROWTH_ALLOWED, sizes
    eventually(lambda: not children(host.pid), what="no child is left")


def objects(host: Host) -> int:
    """Count what the worker's collector knows."""
    return int(host.do("import gc; gc.collect(); answer = len(gc.get_objects())"))
