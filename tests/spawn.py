"""Real workers for tests: start a program, hear that it is ready, end it for certain.

A worker is a file in tests/integration/workers/. It gets three things from here:

- an inherited pipe, whose number stands in READY_FD: the worker writes `ready` there
  once its objects exist. `stage.py`, beside the workers, has the worker's side;
- its standard input, which stays open as long as the test wants the worker to live:
  end of file means "end yourself";
- a private home, where it starts: LIVEHEAP_DIR and HOME point into a directory of its
  own, short enough for a socket's path, so that no test sees the agents of another or
  of the user, and no worker imports the source tree by standing in it.

A test waits for facts, not for time. What only the file system can tell (a socket that
a forked child binds, a process that is gone) is asked for with `eventually`: the one
place where tests poll, always with a deadline.
"""

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

WORKERS = Path(__file__).parent / "integration" / "workers"
START_DEADLINE_S = 60.0
END_DEADLINE_S = 60.0
POLL_INTERVAL_S = 0.01

Answer = TypeVar("Answer")


def eventually(
    question: Callable[[], Answer], *, what: str, deadline_s: float = 60.0
) -> Answer:
    """Ask until the answer is true, and return it; AssertionError at the deadline."""
    end = time.monotonic() + deadline_s
    while not (answer := question()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline_s} s: {what}")
        time.sleep(POLL_INTERVAL_S)
    return answer


def free_port() -> int:
    """Return a loopback port that nobody listens on, and that no client is given."""
    while True:
        port = 15_000 + int.from_bytes(os.urandom(2), "little") % 15_000
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def worker_pythons() -> list[str]:
    """Return ours and the interpreters that LIVEHEAP_WORKER_PYTHONS lists."""
    named = os.environ.get("LIVEHEAP_WORKER_PYTHONS", "").split(os.pathsep)
    return list(dict.fromkeys([sys.executable, *filter(None, named)]))


@dataclass
class Worker:
    """One started worker; `end()` is safe to call twice."""

    process: "subprocess.Popen[bytes]"
    environ: dict[str, str]
    run_dir: Path
    stderr_path: Path
    ready_fd: int
    end_signal: int | None = None
    said: bytes = field(default=b"")
    hung: str = ""

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def stderr(self) -> str:
        """Return what the worker has written to its standard error up to now."""
        if not self.stderr_path.exists():
            return ""
        return self.stderr_path.read_text(encoding="utf-8", errors="replace")

    def sockets(self, pid: int | None = None) -> list[Path]:
        """Return the agents' sockets in the run directory, of one process or of all."""
        return sorted(self.run_dir.glob(f"{pid or '*'}-*.sock"))

    def wait_for_socket(self, pid: int | None = None) -> Path:
        """Return the socket of the agent in `pid` (this worker) once it is bound."""
        pid = pid or self.pid
        return eventually(
            lambda: self.sockets(pid),
            what=f"a socket of pid {pid} in {self.run_dir}\n{self.stderr}",
        )[0]

    def wait_until_ready(self) -> None:
        """Return when the worker has said `ready` once more; else kill it and fail."""
        self.said = read_until_ready(self.ready_fd)
        if b"ready" not in self.said.split():
            code = self.kill()
            raise AssertionError(
                f"{self.process.args} did not say ready (exit {code}):\n{self.stderr}"
            )

    def say(self, line: str) -> None:
        """Write one line to the worker's standard input and wait for its `ready`."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        self.wait_until_ready()

    def end(self) -> int:
        """Close the worker's input; wait for it or kill it; return its exit code.

        Where it hung is kept, and fails the test in the end.
        """
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
        if self.end_signal is not None:
            self.process.send_signal(self.end_signal)
        try:
            return self.process.wait(END_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.hung = where_threads_are(self.pid)
            return self.kill()

    def kill(self) -> int:
        """Kill the worker with SIGKILL, reap it and return its code."""
        self.process.kill()
        return self.process.wait(END_DEADLINE_S)


class Stage:
    """Starts workers and, in `close`, ends and reaps each, their forks included."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="lh-"))
        self.workers: list[Worker] = []

    def spawn(
        self,
        program: str,
        *args: object,
        env: dict[str, str] | None = None,
        python: str = sys.executable,
        agent: bool = True,
    ) -> Worker:
        """Start workers/<program>.py and return when it has said `ready`."""
        path = WORKERS / f"{program.removesuffix('.py')}.py"
        return self.spawn_command(
            [python, str(path), *map(str, args)], env=env, agent=agent
        )

    def spawn_command(
        self,
        command: list[str],
        *,
        env: dict[str, str] | None = None,
        agent: bool = True,
        end_signal: int | None = None,
    ) -> Worker:
        """Start any command that says `ready` on READY_FD; see `spawn`.

        A program that does not read its standard input names the signal that ends it.
        """
        home = self.directory / str(len(self.workers))
        run_dir = home / "run"
        for directory in (home, run_dir):
            directory.mkdir(mode=0o700)
        ready, say_ready = os.pipe()
        environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith("LIVEHEAP")},
            "HOME": str(home),
            "LIVEHEAP_DIR": str(run_dir),
            "PYTHONUNBUFFERED": "1",
            "READY_FD": str(say_ready),
            **({} if agent else {"LIVEHEAP": "0"}),
            **(env or {}),
        }
        stderr_path = home / "stderr"
        try:
            with stderr_path.open("wb") as stderr:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=stderr,
                    cwd=home,
                    env=environ,
                    pass_fds=[say_ready],
                    start_new_session=True,
                )
        except OSError:
            os.close(ready)
            raise
        finally:
            os.close(say_ready)
        worker = Worker(process, environ, run_dir, stderr_path, ready, end_signal)
        self.workers.append(worker)
        worker.wait_until_ready()
        return worker

    def close(self) -> None:
        """End every worker, then whatever is left of the process groups they led.

        Raises:
            AssertionError: one did not end by itself.
        """
        try:
            for worker in self.workers:
                worker.end()
                kill_group(worker.pid)
                os.close(worker.ready_fd)
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)
        hung = [worker for worker in self.workers if worker.hung]
        where = "\n".join(f"{worker.process.args}\n{worker.hung}" for worker in hung)
        assert not hung, f"not ended within {END_DEADLINE_S} s: {where}"

    def report(self) -> Iterator[tuple[str, str]]:
        """Yield a title and the standard error of each worker that said something."""
        for worker in self.workers:
            if worker.stderr:
                yield f"stderr of worker {worker.process.args}", worker.stderr


def read_until_ready(fd: int) -> bytes:
    """Read a ready pipe up to the line `ready`, its end or the deadline."""
    said = b""
    end = time.monotonic() + START_DEADLINE_S
    while not (said.endswith(b"\n") and b"ready" in said.split()):
        left = max(0.0, end - time.monotonic())
        if not select.select([fd], [], [], left)[0]:
            break
        piece = os.read(fd, 4096)
        if not piece:
            break
        said += piece
    return said


def where_threads_are(pid: int) -> str:
    """Return a line for each thread of a process: its state, and where it waits."""
    lines = []
    for task in Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(OSError):
            state = (task / "stat").read_text().rpartition(")")[2].split()[0]
            where = [(task / name).read_text().strip() for name in ("wchan", "syscall")]
            lines.append(" ".join((task.name, state, *where)))
    return "\n".join(lines)


def state_of(pid: int) -> str:
    """Return a process's state letter, or raise OSError if it is gone."""
    stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    return stat.rpartition(")")[2].split()[0]


def stop(pid: int) -> None:
    """Stop a process, and return when it stands: a signal takes its time."""
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: state_of(pid) == "T", what=f"{pid} has stopped")


def kill_group(leader: int) -> None:
    """Kill what is left of a process group and wait until nobody of it runs."""

    def is_gone() -> bool:
        try:
            os.killpg(leader, 9)
        except ProcessLookupError:
            return True
        return all(state == "Z" for state in states_of_group(leader))

    eventually(is_gone, what=f"process group {leader} is gone")


def states_of_group(leader: int) -> Iterator[str]:
    """Yield the state letter of every process in a group, from /proc."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(group) == leader:
            yield state
