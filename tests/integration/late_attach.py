"""Workers that nobody prepared, for tests that bring an agent into them.

They run the interpreter that ours is a virtual environment of: it has no liveheap, no
msgpack and no zstandard. Where a worker needs gevent, that alone is lent to it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent_host import Host
from spawn import Stage

from liveheap_client.inject import command
from liveheap_client.inject.ladder import Arrival

LENT = ("gevent", "greenlet", "zope")
ASLEEP = "import time; print('up', flush=True); time.sleep(600)"
UNPREPARED = {"UNPREPARED": "1", "PYTHONPATH": ""}


def bare_python() -> str:
    """Return the interpreter behind our virtual environment."""
    return os.path.realpath(sys.executable)


def start_unprepared(stage: Stage, kind: str, **env: str) -> Host:
    """Start a host that has no agent and cannot import one."""
    lent = {"PYTHONPATH": str(lend(stage))} if kind.startswith("gevent") else {}
    worker = stage.spawn(
        "agent_host", kind, env={**UNPREPARED, **lent, **env}, python=bare_python()
    )
    host = Host(worker)
    host.do("answer = 'its loop runs'")
    return host


def lend(stage: Stage) -> Path:
    """Return a folder with gevent in it, and nothing of ours."""
    folder = stage.directory / "lent"
    if not folder.exists():
        folder.mkdir(mode=0o755)
        for name in LENT:
            spec = importlib.util.find_spec(name)
            for place in (spec and spec.submodule_search_locations) or ():
                (folder / name).symlink_to(place)
    return folder


def bring(host: Host, **options: Any) -> Arrival:
    """Bring an agent into a host as `liveheap inject --yes` does."""
    said: list[str] = []
    arrival = command.inject(
        options.pop("pid", host.pid),
        yes=True,
        agent=options.pop("agent", None),
        say=said.append,
        environ=host.worker.environ,
    )
    assert arrival is not None, said
    return arrival


def run_directory_of(uid: int) -> Path:
    """Return where luggage goes first."""
    return Path(f"/tmp/liveheap-{uid}")


def luggage_of(pid: int, uid: int | None = None) -> list[str]:
    """Return what of a process's luggage lies there now."""
    folder = run_directory_of(os.geteuid() if uid is None else uid)
    if not folder.exists():
        return []
    return sorted(name for name in os.listdir(folder) if f"-{pid}-" in name)


@contextlib.contextmanager
def running(*words: str, **options: object) -> Iterator[subprocess.Popen[str]]:
    """Run a program that says a line when it is up, and kill it in the end."""
    program = subprocess.Popen(
        words, stdout=subprocess.PIPE, text=True, cwd="/", env={"PATH": "/usr/bin:/bin"}
    )  # type: ignore[call-overload]
    try:
        assert program.stdout is not None
        assert program.stdout.readline().strip() == "up"
        yield program
    finally:
        program.kill()
        program.wait()
        program.stdout.close()
