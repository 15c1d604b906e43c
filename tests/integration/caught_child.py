"""Catch the child of a snapshot in the middle of its walk, and hold it there.

The walk of a big heap takes a tenth of a second. The catcher looks at the worker's
children without a pause and stops the first new one with SIGSTOP, which the child
cannot block, once all its fences stand: its name is the last of them. From there on a
test has all the time it needs. If a child was too fast its client ends first, and the
test asks again.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from spawn import eventually, state_of

BALLAST = 200_000
"""What to give the worker gevent_leak, so that there is a middle to be caught in."""
ATTEMPTS = 10


@dataclass
class Caught:
    """A stopped child, and the client that waits for it."""

    pid: int
    client: "subprocess.Popen[str]"

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def said(self) -> str:
        """Let the client come to its end, and return its standard error."""
        _, stderr = self.client.communicate(timeout=60)
        assert "Traceback" not in stderr, stderr
        return stderr


def children(pid: int) -> set[int]:
    """Return the children of all threads of a process."""
    found: set[int] = set()
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found.update(map(int, path.read_text().split()))
    return found


def state(pid: int) -> str:
    """Return a process's state letter; empty if it is gone."""
    with contextlib.suppress(OSError):
        return state_of(pid)
    return ""


def is_gone(pid: int) -> bool:
    return state(pid) in ("", "Z", "X")


def catch(worker: int, start: Callable[[], "subprocess.Popen[str]"]) -> Caught:
    """Start a client that takes a snapshot and stop the worker's child in its walk."""
    for _ in range(ATTEMPTS):
        before = children(worker)
        client = start()
        while client.poll() is None:
            for pid in children(worker) - before:
                if stopped_behind_its_fences(pid):
                    return Caught(pid, client)
        _, stderr = client.communicate()
        assert client.returncode == 0, stderr
    raise AssertionError(f"{ATTEMPTS} children in a row were faster than the catcher")


def stopped_behind_its_fences(pid: int) -> bool:
    """Stop a child; let it run on if it has not taken its own name yet."""
    try:
        os.kill(pid, signal.SIGSTOP)
        eventually(lambda: state(pid) in ("T", "t", "Z", "X", ""), what="it stops")
        if Path(f"/proc/{pid}/comm").read_text() == "liveheap-walk\n":
            return state(pid) in ("T", "t")
        os.kill(pid, signal.SIGCONT)
    except (ProcessLookupError, FileNotFoundError):
        pass
    return False


def files(pid: int) -> list[str]:
    """Return what a process has open."""
    names = []
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                names.append(os.readlink(descriptor))
    return names
