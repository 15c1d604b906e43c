"""One host of the matrix, running: its processes, its tasks, its agents.

What is true of it is asked of /proc, of the files that its tasks write, and of the
registry; a matter of waiting is `eventually`, always with a deadline.
"""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hosts.catalogue import Host
from spawn import eventually

from liveheap import registry
from liveheap.protocol.auth import Scope
from liveheap_client.dial import DialOptions
from liveheap_client.session import Session
from liveheap_client.target import parse

APPS = Path(__file__).parent / "apps"
BIN = Path(sys.executable).parent
WAIT_S = 30.0
END_S = 45.0
# Python processes of the standard library that only wait for others to end.
HELPERS = ("resource_tracker",)


@dataclass(frozen=True, slots=True)
class Told:
    """A running task, as it says itself."""

    pid: int
    kind: str
    name: str
    id: str | None


@dataclass
class Running:
    """A started host."""

    host: Host
    way: str
    home: Path
    environ: dict[str, str]
    redis: Path | None
    process: "subprocess.Popen[bytes]"
    senders: list[threading.Thread] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def stderr(self) -> str:
        return (self.home / "stderr").read_text("utf-8", "replace")

    # Tasks.

    def feed(self, count: int, gate: str) -> None:
        """Give the host so many tasks that wait for the gate."""
        if self.host.feed == "http":
            for _ in range(count):
                sender = threading.Thread(target=self._fetch, args=(f"/pack/{gate}",))
                sender.start()
                self.senders.append(sender)
        elif self.host.feed == "order":
            order = self.home / "orders" / f"order-{gate[-1]}"
            order.with_suffix(".part").write_text(f"{count} {gate}")
            order.with_suffix(".part").rename(order)
        else:
            words = [sys.executable, str(APPS / "send.py"), self.host.feed]
            environ = {**self.environ, "LIVEHEAP": "0", "MATRIX_START": ""}
            environ.pop("PYTHONPATH", None)
            subprocess.run(
                [*words, str(count), gate], env=environ, check=True, timeout=WAIT_S
            )

    def _fetch(self, path: str) -> None:
        """Ask the site once, as soon as it listens; the answer is nobody's business."""
        with contextlib.suppress(AssertionError, OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("localhost")
            connection.sock = eventually(
                lambda: connected(self.home / "http"),
                what="the site listens",
                deadline_s=WAIT_S,
            )
            connection.request("GET", path)
            connection.getresponse().read()
            connection.close()

    def tasks(self) -> list[Told]:
        """Return the tasks that run, as they say themselves."""
        found = []
        for path in (self.home / "running").iterdir():
            with contextlib.suppress(OSError, ValueError):
                if path.suffix != ".part":
                    found.append(Told(**json.loads(path.read_text())))
        alive = self.processes()
        return [told for told in found if told.pid in alive]

    def wait_for_tasks(self, count: int) -> None:
        """Return when so many tasks run."""
        with contextlib.suppress(AssertionError):
            eventually(
                lambda: self.has_ended() or len(self.tasks()) == count,
                what="tasks run",
                deadline_s=WAIT_S,
            )
        assert not self.has_ended(), f"the host has ended: {self.process.returncode}"
        found = len(self.tasks())
        assert found == count, f"{found} tasks run after {WAIT_S:.0f} s, not {count}"

    def open(self, *gates: str) -> None:
        """Let the tasks of these gates end; return when none runs."""
        for gate in gates:
            (self.home / gate).touch()
        for order in (self.home / "orders").iterdir():
            order.unlink()
        eventually(lambda: not self.tasks(), what="all tasks end", deadline_s=WAIT_S)
        for sender in self.senders:
            sender.join(WAIT_S)
        self.senders.clear()

    # Processes and agents.

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def processes(self) -> set[int]:
        """Return the pids of the host's session, zombies aside."""
        return {
            pid
            for pid, session, state in stats()
            if session == self.pid and state != "Z"
        }

    def pythons(self) -> set[int]:
        """Return those that an agent belongs to."""
        return {pid for pid in self.processes() if is_python(pid)}

    def workers(self) -> dict[int, dict[str, Any]]:
        """Return the facts of every agent that is listed, by pid."""
        return {entry.pid: entry.facts for entry in registry.entries(self.environ)}

    def agents(self) -> set[tuple[int, float]]:
        """Return pid and start of every agent: an exec keeps the one, not the other."""
        return {(pid, facts["started"]) for pid, facts in self.workers().items()}

    def incarnations(self) -> frozenset[tuple[int, float]]:
        """Return the same of those whose process runs a task."""
        busy = {told.pid for told in self.tasks()}
        return frozenset(agent for agent in self.agents() if agent[0] in busy)

    def sockets(self) -> list[Path]:
        """Return the sockets in the run directory, without tidying it up."""
        return list((self.home / "run").glob("*.sock"))

    @contextlib.contextmanager
    def session(self, pid: int) -> Iterator[Session]:
        """Talk to the agent of one process."""
        options = DialOptions(environ=self.environ)
        with Session.open(
            parse(str(pid)), scope=Scope.GRAPH, options=options
        ) as session:
            yield session

    def status(self, pid: int) -> dict[str, Any]:
        """Return what the agent of one process says."""
        with self.session(pid) as session:
            return dict(session.request("status").as_dict())

    # The end.

    def end(self) -> int:
        """Ask the host to end; return its code, or kill it and raise."""
        if not self.has_ended():
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"SIGTERM did not end it in {END_S:.0f} s") from None

    def kill(self) -> None:
        """Kill whatever of it is left."""
        for pid in self.processes() | ({self.pid} if not self.has_ended() else set()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(END_S)
        (self.home / "killed").touch()


def start(host: Host, way: str, home: Path, redis: Path | None) -> Running:
    """Start a host with an agent, in one of the ways: run, pth, call."""
    for name in ("run", "running", "orders"):
        (home / name).mkdir(mode=0o700)
    places = {
        "bin": str(BIN),
        "apps": str(APPS),
        "socket": str(home / "http"),
        "redis": f"unix://{redis}",
    }
    environ = {
        **{
            k: v
            for k, v in os.environ.items()
            if not k.startswith(("LIVEHEAP", "PYTHON"))
        },
        "HOME": str(home),
        "LIVEHEAP_DIR": str(home / "run"),
        "MATRIX_STAGE": str(home),
        "MATRIX_START": way,
        "MATRIX_REDIS": places["redis"],
        "MATRIX_CELERY": f"redis+socket://{redis}",
        "PYTHONDONTWRITEBYTECODE": "1",
        **dict(host.env),
        **({"LIVEHEAP": "1"} if way == "pth" else {}),
        # What a user of this framework's own command has in the path.
        **({"PYTHONPATH": str(APPS)} if host.feed in ("huey", "mrq") else {}),
    }
    words = [word.format(**places) for word in host.command]
    through = [str(BIN / "liveheap"), "run", "--"] if way == "run" else []
    with (home / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [*through, *words],
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            cwd=home,
            env=environ,
            start_new_session=True,
        )
    return Running(host, way, home, environ, redis, process)


def connected(path: Path) -> socket.socket | None:
    """Return a connection to a Unix socket, or None while nobody listens there."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(2 * WAIT_S)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        return None
    return connection


def stats() -> Iterator[tuple[int, int, str]]:
    """Yield pid, session and state of every process."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{name}/stat").read_text()
            state, _, _, session = text.rpartition(")")[2].split()[:4]
            yield int(name), int(session), state


def is_python(pid: int) -> bool:
    """Return whether an agent belongs into a process: a Python, and no mere helper."""
    try:
        program = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
        line = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")
    except OSError:
        return False
    return program.startswith("python") and not any(word in line for word in HELPERS)
