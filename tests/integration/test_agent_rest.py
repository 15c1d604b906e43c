"""An agent at rest costs nothing: no wakeups, no CPU, also after it was asked."""

from __future__ import annotations

import time

import pytest
from agent_host import cpu_ticks, start_host, wakeups
from spawn import eventually

AT_REST_S = 4.0


@pytest.mark.parametrize("kind", ["plain", "gevent"])
def test_an_agent_at_rest_never_wakes(kind, stage):
    host = start_host(stage, kind)
    host.do(
        "import liveheap.agent.start as agent; agent.Current.agent._listener.wake()"
    )
    with host.connect() as client:
        client.request("status")
    with host.connect() as idle:
        idle.request("status")
        eventually(host.has_one_session_beside, what="only the idle session is left")
        settled = wakeups(host.pid)
        spent = cpu_ticks(host.pid)
        end = time.monotonic() + AT_REST_S
        eventually(lambda: time.monotonic() > end, what="time", deadline_s=10)
        assert wakeups(host.pid) - settled <= 1
        assert cpu_ticks(host.pid) - spent == 0
