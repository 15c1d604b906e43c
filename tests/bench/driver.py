"""The driver's side of a target: start it, ask it, take snapshots of it as a user does.

A target has a private LIVEHEAP_DIR. `whole_way` is what `liveheap snapshot PID -o FILE`
does from the request to the verified file under its name; the session is opened
before the clock starts, since an attached shell has one.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from liveheap.protocol.auth import Scope
from liveheap_client.caller import Caller
from liveheap_client.commands.fetch import fetch
from liveheap_client.dial import DialOptions
from liveheap_client.session import Session
from liveheap_client.target import parse

HERE = Path(__file__).parent
NOTHING: Mapping[str, str] = {}
SNAPSHOT = {"max_pause_ms": 60_000.0, "force": True, "timeout_s": 600.0, "gc": False}


class Failed(Exception):
    """An action of the target did not work; the message is its own."""


@dataclass
class Target:
    """One running target process."""

    process: "subprocess.Popen[str]"
    directory: Path
    environ: dict[str, str]
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def pid(self) -> int:
        return self.process.pid

    def do(self, name: str, **arguments: object) -> dict[str, Any]:
        """Let the target do something and return its figures."""
        self.start(name, **arguments)
        figures = self.read()
        if "error" in figures:
            raise Failed(f"{name}: {figures['error']}")
        return figures

    def start(self, name: str, **arguments: object) -> None:
        """Let the target do something whose figures `read` will return."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": name, **arguments}) + "\n")
        self.process.stdin.flush()

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"the target ended with code {self.process.wait()}")
        figures: dict[str, Any] = json.loads(line)
        return figures

    def session(self, scope: Scope = Scope.GRAPH) -> Session:
        return Session.open(
            parse(str(self.pid)),
            scope=scope,
            options=DialOptions(environ=self.environ),
        )

    def caller(self) -> Caller:
        """Return a caller of this target, its session open."""
        caller = Caller(self.session)
        caller.session(Scope.GRAPH)
        return caller

    def whole_way(self, caller: Caller, file: Path) -> dict[str, Any]:
        """Take one snapshot into a verified file; return figures of both ends."""
        self.do("begin")
        before = time.perf_counter()
        trailer = fetch(caller, file, args=SNAPSHOT).trailer
        seconds = time.perf_counter() - before
        return {
            **self.do("end"),
            "seconds": seconds,
            "call_ms": trailer["pause_ns"] / 1e6,
            "walk_s": trailer["walk_ns"] / 1e9,
            "nodes": trailer["nodes"],
            "edges": trailer["edges"],
            "raw_length": trailer["raw_length"],
            "complete": trailer["complete"],
            "file_bytes": file.stat().st_size,
        }


def running_target(
    objects: int, age: str, *, agent: bool = True
) -> contextlib.AbstractContextManager[Target]:
    """Start a target and return when its heap stands; end it at the exit."""
    return running_program("target.py", objects, age, agent=agent)


@contextlib.contextmanager
def running_program(
    program: str, *args: object, agent: bool = True, more: Mapping[str, str] = NOTHING
) -> Iterator[Target]:
    """Start a program of this folder and return when it is ready; end it."""
    with tempfile.TemporaryDirectory(prefix="lh-bench-") as name:
        directory = Path(name)
        run_dir = directory / "run"
        run_dir.mkdir(mode=0o700)
        environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith("LIVEHEAP")},
            "LIVEHEAP_DIR": str(run_dir),
            "LIVEHEAP_SPOOL": str(directory),
            "LIVEHEAP": "1" if agent else "0",
            "LIVEHEAP_HEAVY_PER_MINUTE": "600",
            "LIVEHEAP_TRIM_EVERY": "0.01",
            "LIVEHEAP_GC_EVERY": "0.01",
            "HOME": name,
            **more,
        }
        process = subprocess.Popen(
            [sys.executable, str(HERE / program), *map(str, args)],
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=directory,
        )
        target = Target(process, directory, environ)
        try:
            target.facts = target.read()
            if target.facts["unsupported"]:
                raise Failed(f"no engine: {target.facts['unsupported']}")
            yield target
        finally:
            process.kill()
            process.communicate()


def liveheap(
    *words: object, environ: dict[str, str]
) -> "subprocess.CompletedProcess[str]":
    """Run the command line as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "liveheap_client", *map(str, words)],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
