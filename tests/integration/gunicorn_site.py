"""Start gunicorn with gevent workers that serve workers/gunicorn_app.py."""

import re
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from command_line import MODULE
from spawn import WORKERS, Stage, Worker

TIMEOUT_S = 30
WITH_AGENT_IN_THE_MASTER = (*MODULE, "run", "--")


@dataclass
class Site:
    """A gunicorn master, its workers and the port they serve."""

    master: Worker
    pids: list[int]
    port: int

    @property
    def pid(self) -> int:
        """The only worker."""
        (pid,) = self.pids
        return pid


def start_site(
    stage: Stage,
    *,
    ballast: int,
    workers: int = 1,
    through: Sequence[str] = (),
    env: dict[str, str] | None = None,
) -> Site:
    """Start a site and wait until the agent of each of its workers listens."""
    master = stage.spawn_command(
        [
            *(*through, sys.executable, "-m", "gunicorn", "gunicorn_app:app"),
            *("--chdir", str(WORKERS), "--worker-class", "gevent"),
            *("--workers", str(workers), "--timeout", str(TIMEOUT_S)),
            *("--bind", "127.0.0.1:0"),
        ],
        env={"BALLAST": str(ballast), **(env or {})},
        end_signal=signal.SIGQUIT,
    )
    pids = next_workers(master, workers, said=master.said)
    listening = re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", master.stderr)
    assert listening, master.stderr
    return Site(master, pids, int(listening[1]))


def next_workers(master: Worker, count: int, *, said: bytes = b"") -> list[int]:
    """Wait until the agents of so many workers more listen; return the workers' pids.

    Two that load the application at the same time may say so in one breath.
    """
    while said.count(b"ready") < count:
        master.wait_until_ready()
        said += master.said
    pids = [int(word) for word in said.split() if word != b"ready"]
    for pid in pids:
        master.wait_for_socket(pid)
    return pids
