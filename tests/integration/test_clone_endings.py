"""Ways in which a copy ends: each has words for the client, and the worker goes on."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import memory_fence
import pytest
from agent_host import is_alive
from cloning import Copied, cloning_host, copied
from spawn import eventually

from liveheap.errors import CommandError
from liveheap.protocol.auth import Scope

SPIN = "while True: pass"
DEAF = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})"


def test_a_copy_that_does_not_let_itself_be_interrupted_is_killed(stage):
    host = cloning_host(stage)
    with host.unharmed(), copied(host) as copy:
        request = copy.begun(SPIN, first=DEAF)
        copy.client.cancel(request)
        with pytest.raises(CommandError, match="killed") as ended:
            copy.hear(request)
        assert ended.value.code == "cancelled"
        copy.wait_until_gone()
        with pytest.raises(CommandError, match="killed"):
            copy.ask("1 + 1")
        again = Copied(copy.client, python=True)
        assert again.say("2 + 2") == "4"


def test_a_copy_that_is_killed_in_the_middle_is_told_of(stage):
    host = cloning_host(stage)
    with host.unharmed(), copied(host) as copy:
        request = copy.begun(SPIN)
        os.kill(copy.pid, signal.SIGKILL)
        with pytest.raises(CommandError, match="killed from outside"):
            copy.hear(request)
        copy.wait_until_gone()


def test_a_copy_that_crashes_is_told_of(stage):
    host = cloning_host(stage)
    with host.unharmed(), copied(host) as copy:
        with pytest.raises(CommandError, match="SIGSEGV"):
            copy.ask("import ctypes; ctypes.string_at(0)")
        copy.wait_until_gone()


def test_a_copy_ends_by_itself_when_its_time_is_over(stage):
    host = cloning_host(stage)
    with host.unharmed(), copied(host, lives_s=2.0) as copy:
        with pytest.raises(CommandError, match="2 s are over"):
            copy.ask(SPIN)
        copy.wait_until_gone()


def test_a_copy_ends_with_its_session_whatever_it_does(stage):
    host = cloning_host(stage)
    with host.unharmed():
        with host.connect(scope=Scope.EXEC) as client:
            copy = Copied(client, python=True)
            started = copy.say(
                "import os; os.spawnlp(os.P_NOWAIT, 'sleep', 'sleep', '99')"
            )
            copy.begun(SPIN, first=DEAF)
        copy.wait_until_gone()
    eventually(lambda: not is_alive(int(started)), what="what it has started ends, too")


def test_a_copy_ends_with_its_worker(stage):
    host = cloning_host(stage)
    with host.connect(scope=Scope.EXEC) as client:
        copy = Copied(client, python=True)
        copy.begun(SPIN)
        host.worker.kill()
        eventually(lambda: not is_alive(copy.pid), what="the copy ends")


def test_a_child_that_the_worker_forks_meanwhile_has_nothing_of_the_copy(stage):
    host = cloning_host(stage)
    with copied(host) as copy:
        child = host.do(
            "r, w = os.pipe()\n"
            "answer = os.fork()\n"
            "if not answer:\n"
            "    names = []\n"
            "    for n in os.listdir('/proc/self/fd'):\n"
            "        try: names.append(os.readlink('/proc/self/fd/' + n))\n"
            "        except OSError: pass\n"
            "    found = [name for name in names if name.startswith('socket')]\n"
            "    os.write(w, repr(found).encode())\n"
            "    os._exit(0)\n"
            "os.waitpid(answer, 0)\n"
            "answer = os.read(r, 4096).decode(); os.close(r); os.close(w)"
        )
        assert child == "[]"
        assert copy.say("1 + 1") == "2"


@pytest.mark.skipif(
    memory_fence.MemoryCgroup.name not in memory_fence.kinds(),
    reason="no memory cgroup can be made here",
)
def test_where_memory_is_short_a_copy_is_refused_and_one_forced_dies_alone(stage):
    fence = memory_fence.make(memory_fence.MemoryCgroup.name)
    try:
        host = cloning_host(stage)
        Path(fence.directory / "cgroup.procs").write_text(str(host.pid))
        host.do("kept = bytearray(os.urandom(1 << 20) * 60)")
        fence.leave_headroom(host.pid, 40 << 20)
        with host.connect(scope=Scope.EXEC) as client:
            with pytest.raises(CommandError) as refused:
                client.request("clone", python=True)
            assert refused.value.code == "refused"
            assert "cgroup" in str(refused.value)
            assert "leaves 4" in str(refused.value) or "leaves 3" in str(refused.value)
            copy = Copied(client, python=True, force=True)
            with pytest.raises(CommandError, match="the kernel killed it: memory"):
                copy.ask("more = [bytearray(b'x' * (1 << 20)) for _ in range(200)]")
            copy.wait_until_gone()
        assert host.do("answer = len(kept)") == 60 << 20
    finally:
        fence.lift(0)
        host.worker.end()
        fence.remove()


def test_a_copy_may_not_grow_without_bound(stage):
    host = cloning_host(stage)
    with copied(host) as copy:
        text, answer = copy.ask("bytearray(1 << 40)")
        assert answer["outcome"] == "error"
        assert "MemoryError" in text
        assert copy.say("1 + 1") == "2"


def test_output_is_bounded_and_a_picture_leaves_no_file(stage, tmp_path):
    host = cloning_host(stage)
    host.do(f"os.environ['TMPDIR'] = {str(tmp_path)!r}; import tempfile")
    host.do(
        "tempfile.tempdir = None; class_of = type('Shop', (), {}); one = class_of()"
    )
    with copied(host) as copy:
        text, answer = copy.ask("print('x' * 100_000)", max_output=1000)
        assert (len(text), answer["truncated"]) == (1000, True)
        _, answer = copy.ask("objgraph.show_backrefs(objgraph.by_type('Shop')[0])")
        assert "digraph" in answer["pictures"][0]
    assert list(tmp_path.iterdir()) == []
