"""A copy on its way: one that meets a lock is made anew, and who waits may leave."""

from __future__ import annotations

import os
import subprocess

import pytest
from agent_host import Host
from caught_child import children
from cloning import Copied, cloning_host, copied
from spawn import eventually

from liveheap.agent.pulse import Pulse
from liveheap.errors import CommandError
from liveheap.protocol.auth import Scope
from liveheap.protocol.messages import Failure, Progress

LOCKED = """
import _thread
from liveheap.agent import copies
from liveheap.clone.inside import Program
lock, made = _thread.allocate_lock(), []
lock.acquire()
begin, run = Program.__init__, Program.__call__
def count(self, *args, **options):
    made.append(self)
    begin(self, *args, **options)
def meet(self, threads):
    if len(made) <= {meets}:
        lock.acquire()
    run(self, threads)
Program.__init__, Program.__call__ = count, meet
copies.ATTEMPTS, copies.STILL_LOOKS = {attempts}, {looks}
"""


def has_no_children(host: Host) -> None:
    eventually(lambda: not children(host.pid), what="no copy is left")


def test_a_copy_that_meets_a_lock_is_made_anew(stage):
    host = cloning_host(stage)
    host.do(LOCKED.format(meets=1, attempts=5, looks=5))
    with host.unharmed(), copied(host) as copy:
        assert copy.say("1 + 1") == "2"
        assert host.do("answer = len(made)") == 2
        assert children(host.pid) == {copy.pid}


def test_who_gets_no_copy_is_told_why(stage):
    host = cloning_host(stage)
    host.do(LOCKED.format(meets=2, attempts=2, looks=3))
    with host.unharmed(), host.connect(scope=Scope.EXEC) as client:
        with pytest.raises(CommandError, match="slept at a lock") as failed:
            client.request("clone")
        assert failed.value.code == "failed"
        assert host.do("answer = len(made)") == 2
        has_no_children(host)
        assert Copied(client, python=True).say("1 + 1") == "2"


def test_who_waits_for_a_copy_is_told_so_and_may_leave(stage):
    host = cloning_host(stage)
    host.do(LOCKED.format(meets=9, attempts=9, looks=100_000))
    with host.unharmed(), host.connect(scope=Scope.EXEC) as client:
        request = client.ask("clone")
        phases = (m.phase for m in client.answers(request) if isinstance(m, Progress))
        assert "the copy comes up" in phases
        client.cancel(request)
        *_, last = client.answers(request)
        assert isinstance(last, Failure)
        assert last.code == "cancelled"
        has_no_children(host)


def test_a_pulse_tells_who_sleeps_from_who_waits_for_a_processor():
    assert [Pulse(os.getpid()).look() for _ in range(3)] == [0, 0, 0]
    sleeper = subprocess.Popen(["sleep", "99"])
    try:
        pulse = Pulse(sleeper.pid)
        eventually(lambda: pulse.look() == 5, what="it sleeps on")
        assert pulse.where()
    finally:
        sleeper.kill()
        sleeper.wait()
    assert pulse.look() == 0
