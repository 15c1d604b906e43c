"""gunicorn reloads on SIGHUP: new workers get agents, the old ones leave no ghost."""

import json
import os
import signal

from command_line import liveheap
from gunicorn_site import WITH_AGENT_IN_THE_MASTER, Site, next_workers, start_site
from spawn import Stage, eventually

# What CPython 3.12+ says to a process of several threads that forks.
FORK_WARNING_IS_AN_ERROR = {"PYTHONWARNINGS": "error:This process:DeprecationWarning"}


def listed(site: Site) -> list[int]:
    rows = json.loads(liveheap("ps", "--json", env=site.master.environ).stdout)
    return sorted(row["pid"] for row in rows)


def test_reloaded_workers_have_agents_and_the_old_ones_are_forgotten(
    stage: Stage,
) -> None:
    site = start_site(
        stage,
        ballast=100,
        workers=2,
        through=WITH_AGENT_IN_THE_MASTER,
        env=FORK_WARNING_IS_AN_ERROR,
    )
    master = site.master.pid
    assert listed(site) == sorted([master, *site.pids])

    os.kill(master, signal.SIGHUP)
    reloaded = next_workers(site.master, 2)

    for old in site.pids:
        eventually(lambda pid=old: not site.master.sockets(pid), what="it is gone")
    assert listed(site) == sorted([master, *reloaded])
    assert not set(reloaded) & set(site.pids)
    for pid in reloaded:
        answer = liveheap("status", pid, "--json", env=site.master.environ).stdout
        assert json.loads(answer)["pid"] == pid
    assert "Warning" not in site.master.stderr
