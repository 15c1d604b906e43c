"""What the forker's tests share: walks held still, processes seen to end, programs.

A walk that is held with "stop" has raised its fences and sent itself SIGSTOP; the
kernel reports that to whoever waits with WUNTRACED, so no test polls for it. The end
of a process that is no child of ours is seen through its pidfd.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from liveheap import _heap

WALL = 0x40000000
WORKERS = Path(__file__).parent / "forker_workers"
DEADLINE_S = 60.0

AS_ROOT = os.geteuid() == 0


@contextlib.contextmanager
def walking(kind: str = "graph", **options: Any) -> Iterator[_heap.Child]:
    """A child of ours over a spool of its own; killed and reaped at the end."""
    with tempfile.TemporaryFile() as spool:
        child = _heap.snapshot_start(spool.fileno(), kind, {"timeout_s": 60, **options})
        try:
            yield child
        finally:
            child.kill()
            assert child.wait(DEADLINE_S) is not None


@contextlib.contextmanager
def held(**options: Any) -> Iterator[_heap.Child]:
    """A child that has raised its fences and stopped before its walk."""
    with walking(hold="stop", **options) as child:
        wait_until_stopped(child.pid)
        yield child


def wait_until_stopped(pid: int) -> None:
    reported, status = os.waitpid(pid, os.WUNTRACED | WALL)
    assert reported == pid
    assert os.WIFSTOPPED(status), f"ended instead: {status}"


def resume(pid: int) -> None:
    os.kill(pid, signal.SIGCONT)


def finish(child: _heap.Child) -> dict[str, Any]:
    """Wait for the end and return the status; the end must come."""
    assert child.wait(DEADLINE_S) is not None, child.status()
    return child.status()


def wait_until_gone(pidfd: int) -> None:
    ended = select.poll()
    ended.register(pidfd, select.POLLIN)
    assert ended.poll(DEADLINE_S * 1000), "the process still lives"


@contextlib.contextmanager
def program(name: str, *args: str, prefix: tuple[str, ...] = ()) -> Iterator["Program"]:
    """A program of forker_workers/, killed at the end."""
    command = [*prefix, sys.executable, str(WORKERS / name), *args]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Program(process)
        finally:
            process.kill()


class Program:
    """A running program that answers with lines of JSON."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.pid = process.pid

    def answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the program ended with {self.process.wait()}"
        return json.loads(line)

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> int:
        """Let it end by itself; its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(DEADLINE_S)
