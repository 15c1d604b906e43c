"""An agent at rest costs nothing, also after it was asked: no wakeups, no CPU.

That is where no history is kept; what one costs is a row of the benchmark.
"""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path

from agent_host import Host, RunTime, run_times, start_host
from spawn import eventually

AT_REST_S = 4.0
LOOKS = 10
START = """
import liveheap, liveheap.agent.start as agent
os.environ.pop("LIVEHEAP")
liveheap.start(strict=True, history=False)
listener = agent.Current.agent._listener
listener._settle_at = 0.0
listener._bell.ring()
"""


def start_agent(host: Host) -> set[int]:
    """Start the agent, past its beginnings; return the threads there were before."""
    before = set(run_times(host.pid))
    host.do(START)
    return before


def settled(host: Host, not_ours: set[int]) -> dict[int, RunTime]:
    """Return what the agent's threads have run, once none of them runs on."""
    looks: deque[dict[int, RunTime]] = deque(maxlen=LOOKS)

    def is_still() -> bool:
        looks.append(run_times(host.pid, not_ours))
        return (
            len(looks) == LOOKS
            and all(look == looks[0] for look in looks)
            and all(sleeps(host.pid, thread) for thread in looks[0])
        )

    eventually(is_still, what="the agent comes to rest")
    return looks[0]


def sleeps(pid: int, thread: int) -> bool:
    """Whether a thread waits for something else than for a CPU."""
    stat = Path(f"/proc/{pid}/task/{thread}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "S"


def test_an_agent_at_rest_never_wakes(stage):
    hosts = {kind: start_host(stage, kind, agent=False) for kind in ("plain", "gevent")}
    others = {kind: start_agent(host) for kind, host in hosts.items()}
    sessions, before, after = [], {}, {}
    for host in hosts.values():
        host.request("status")
        sessions.append(host.connect())
        sessions[-1].request("status")
        eventually(host.has_one_session_beside, what="only the idle session is left")
    for kind, host in hosts.items():
        before[kind] = settled(host, others[kind])
    end = time.monotonic() + AT_REST_S
    eventually(lambda: time.monotonic() > end, what="time", deadline_s=2 * AT_REST_S)
    for kind, host in hosts.items():
        after[kind] = run_times(host.pid, others[kind])
    for session in sessions:
        session.close()
    assert [len(threads) for threads in before.values()] == [2, 2]
    assert after == before
