"""The kill switch: a file, a verb, a variable; for agents that run already, too."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from agent_host import Host, start_host
from contract.minimal_client import Gone, connect
from spawn import Stage, eventually, stop

from liveheap.errors import AuthenticationError, CommandError
from liveheap.protocol.auth import Scope

START = "import liveheap; liveheap.start()"
FORK = """
pid = os.fork()
if pid == 0:
    import signal
    signal.pause()
answer = pid
"""


@pytest.fixture
def host(stage: Stage) -> Host:
    """A host whose agent wakes for its connections alone."""
    return start_host(stage, "plain", env={"LIVEHEAP_HISTORY": "0"})


def files(host: Host) -> list[str]:
    """What is in the run directory of agents that listen."""
    names = sorted(path.name for path in host.worker.run_dir.iterdir())
    return [name for name in names if name.endswith((".sock", ".json"))]


def log(host: Host) -> list[dict[str, object]]:
    lines = (host.worker.run_dir / "audit.log").read_text().splitlines()
    return [json.loads(line) for line in lines]


def has_left(host: Host) -> bool:
    return not files(host) and host.threads() == 1


def test_the_file_ends_sessions_that_run_and_the_agent(host):
    with host.connect() as running, host.connect() as idle:
        assert running.request("status").as_dict()["pid"] == host.pid
        (host.worker.run_dir / "disabled").touch()
        with pytest.raises(CommandError) as refused:
            running.request("histogram")
        assert refused.value.code == "scope"
        assert "switched off" in str(refused.value)
        with pytest.raises(Gone):
            running.next_message()
        with suppress(OSError, Gone, AuthenticationError):
            host.connect().close()
            raise AssertionError("an agent that is switched off let somebody in")
        with pytest.raises(Gone):
            idle.next_message()
    eventually(lambda: has_left(host), what="socket and threads are gone")
    assert [line for line in log(host) if line["what"] == "switched off"]
    host.do(START)
    assert files(host) == []
    (host.worker.run_dir / "disabled").unlink()
    host.do(START)
    host.status()
    assert host.worker.stderr == ""


def test_an_agent_whom_nobody_asks_sees_the_file_when_it_notes_its_figures(stage):
    host = start_host(stage, "plain", env={"LIVEHEAP_HISTORY": "0.05"})
    (host.worker.run_dir / "disabled").symlink_to("/nowhere")
    eventually(lambda: has_left(host), what="socket and threads are gone")
    assert host.do("answer = 6 * 7") == 42


def test_an_agent_that_was_stopped_stays_away_until_the_program_starts_anew(host):
    with host.connect(scope=Scope.READ) as client, host.connect() as other:
        assert client.request("stop").as_dict() == {"stopped": True}
        with pytest.raises(Gone):
            client.next_message()
        with pytest.raises(Gone):
            other.next_message()
    eventually(lambda: has_left(host), what="socket and threads are gone")
    host.do(START)
    child = host.do(FORK)
    host.do(f"os.kill({child}, 9); os.waitpid({child}, 0)")
    assert files(host) == []
    assert [line["result"] for line in log(host) if line["what"] == "stop"] == ["ok"]
    assert host.worker.stderr == ""


def test_a_child_of_a_worker_that_was_stopped_may_not_start_one_either(host):
    host.request("stop")
    eventually(lambda: has_left(host), what="socket and threads are gone")
    run_dir = str(host.worker.run_dir)
    found = host.do(
        f"""
pid = os.fork()
if pid == 0:
    import liveheap
    liveheap.start()
    os._exit(any(name.endswith(".sock") for name in os.listdir({run_dir!r})))
answer = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""
    )
    assert found == 0


def test_a_child_forked_while_the_agent_is_about_to_stop_has_none(host):
    alone = host.do(
        """
import liveheap.agent.start as agent
agent.stay_away()
pid = os.fork()
if pid == 0:
    threads = len(os.listdir("/proc/self/task"))
    os._exit(agent.Current.agent is None and threads == 1)
answer = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""
    )
    assert alone == 1


def test_a_fork_beside_the_file_brings_no_agent(stage):
    host = start_host(stage, "plain", env={"LIVEHEAP_FORK_DELAY": "0"})
    with host.connect():
        child = host.do(FORK)
        host.worker.wait_for_socket(child)
        (host.worker.run_dir / "disabled").touch()
        second = host.do(FORK)
        for pid in (child, second):
            stat = Path(f"/proc/{pid}/task")
            eventually(
                lambda stat=stat: len(list(stat.iterdir())) == 1 or poke(host, child),
                what=f"no agent in {stat}",
            )
        assert host.worker.sockets(second) == []
    host.do(f"for each in ({child}, {second}): os.kill(each, 9); os.waitpid(each, 0)")


def poke(host: Host, pid: int) -> bool:
    """Connect, if there is a socket still: then an agent looks for the switch."""
    for path in host.worker.sockets(pid):
        with suppress(OSError, Gone, AuthenticationError):
            connect(path).close()
            pytest.fail(f"an agent that is switched off answers at {path}")
    return False


@pytest.mark.parametrize("ceiling", ["read", "exec"])
def test_the_lowest_scope_is_enough(ceiling, stage):
    host = start_host(stage, "plain", env={"LIVEHEAP_ALLOW": ceiling})
    with host.connect(scope=Scope.READ) as client:
        client.request("stop")
    eventually(lambda: has_left(host), what="socket and threads are gone")


def test_a_worker_that_is_stopped_by_a_signal_obeys_when_it_goes_on(host):
    stop(host.pid)
    (host.worker.run_dir / "disabled").touch()
    os.kill(host.pid, signal.SIGCONT)
    poke(host, host.pid)
    eventually(lambda: has_left(host), what="socket and threads are gone")
