"""Tests of the agent in real hosts: start one, tell it what to do, talk to its agent.

The worker is workers/agent_host.py; `Host.do` runs Python on its main thread.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract.minimal_client import MinimalClient, connect
from spawn import Stage, Worker, eventually, state_of

from liveheap.errors import AuthenticationError
from liveheap.protocol.auth import Scope

THREADS_OF_THE_AGENT = """
import liveheap.agent.start as agent
answer = len(agent.Current.agent.threads.ids()) // 2
"""


class Host:
    """One running host."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.pid = worker.pid

    def do(self, code: str) -> Any:
        """Run Python on the host's main thread; return what it put into `answer`."""
        self.worker.say(json.dumps(code))
        return json.loads(self.worker.said.decode().rpartition(" ready")[0])

    def connect(
        self, pid: int | None = None, scope: Scope = Scope.GRAPH
    ) -> MinimalClient:
        """Open a session with the agent of the host, or of a child of it."""
        return connect(self.worker.wait_for_socket(pid), scope=scope)

    def request(self, command: str, **args: Any) -> Any:
        """Run one command in a session of its own."""
        with self.connect() as client:
            return client.request(command, **args)

    def status(self) -> dict[str, Any]:
        """Ask the host's status."""
        facts: dict[str, Any] = self.request("status").as_dict()
        return facts

    def threads(self) -> int:
        """Count the host's native threads."""
        return len(list(Path(f"/proc/{self.pid}/task").iterdir()))

    def descriptors(self) -> int:
        """Count the host's open files."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    @contextmanager
    def busy(self, code: str) -> Iterator[None]:
        """Run code that starts to `spin` in the background, and end that afterwards."""
        spinning = Path(self.worker.environ["HOME"]) / "spinning"
        self.do(code)
        eventually(lambda: spinning.read_bytes()[0], what="the host spins")
        try:
            yield
        finally:
            with spinning.open("r+b", buffering=0) as file:
                file.seek(1)
                file.write(b"\1")
        eventually(lambda: spinning.read_bytes() == b"\0\0", what="it spins no more")

    def has_quiet_agent(self) -> bool:
        """Whether no session is left but that of the asker."""
        return self.count_sessions() == 1

    def has_one_session_beside(self) -> bool:
        """Whether one session is left, and that of the asker."""
        return self.count_sessions() == 2

    def count_sessions(self) -> int | None:
        """How many sessions there are, the asker's too; None if no more are taken."""
        try:
            return int(self.status()["sessions"])
        except BlockingIOError:  # its queue is full
            return None
        except AuthenticationError as exc:
            if exc.code not in ("busy", "closed"):  # closed: its lobby is full
                raise
            return None

    def wait_until_quiet(self) -> None:
        """Wait until nothing is left of any session, without opening one to ask."""

        def is_quiet() -> bool:
            return self.do(THREADS_OF_THE_AGENT) == 1

        eventually(is_quiet, what="earlier sessions end")

    @contextmanager
    def unharmed(self) -> Iterator[None]:
        """Assert that what happens inside leaves the host as it was.

        It begins when the sessions of before are over: so those inside can be counted.
        """
        self.wait_until_quiet()
        threads, files = self.threads(), self.descriptors()
        yield
        eventually(self.has_quiet_agent, what="sessions end")
        eventually(lambda: self.threads() <= threads, what=f"{threads} threads again")
        eventually(lambda: self.descriptors() <= files, what=f"{files} files again")
        assert self.do("answer = 6 * 7") == 42
        assert self.worker.stderr == ""


def start_host(stage: Stage, kind: str, **options: Any) -> Host:
    """Start a host of a kind and wait until its agent listens."""
    worker = stage.spawn("agent_host", kind, **options)
    host = Host(worker)
    if options.get("agent", True):
        worker.wait_for_socket()
    host.do("answer = 'its loop runs'")
    return host


def latencies_ms(
    host: Host, client: MinimalClient, rounds: int, *, rest_s: float = 0
) -> list[float]:
    """Measure round trips of the smallest request there is, sorted.

    Without the time for which the host, or we, could have run but other programs had
    the CPU. Beside CPU-bound code, pings without a rest in between share one hold of
    the GIL, and look quicker than a ping is.
    """
    found = []
    for _ in range(rounds):
        kept_waiting = waited_ns(host.pid)
        began = time.perf_counter_ns()
        list(client.answers(client.ask("ping-that-nobody-knows")))
        took = time.perf_counter_ns() - began
        found.append((took - (waited_ns(host.pid) - kept_waiting)) / 1e6)
        time.sleep(rest_s)
    return sorted(found)


def waited_ns(pid: int) -> int:
    """Return for how long this thread, and those of a process, waited for a CPU."""
    waited = [Path("/proc/thread-self"), *Path(f"/proc/{pid}/task").iterdir()]
    return sum(int((task / "schedstat").read_text().split()[1]) for task in waited)


@dataclass(frozen=True, slots=True)
class RunTime:
    """What a thread has had of a CPU: nanoseconds, and how often it was put on one."""

    ns: int
    times: int


def run_times(pid: int, but: Collection[int] = ()) -> dict[int, RunTime]:
    """Return what each thread of a process has run, by its native id."""
    found = {}
    for path in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # a thread that ends while we look
            ns, _, times = (path / "schedstat").read_text().split()
            found[int(path.name)] = RunTime(int(ns), int(times))
    return {thread: had for thread, had in found.items() if thread not in but}


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    with suppress(OSError):
        return state_of(pid) != "Z"
    return False
