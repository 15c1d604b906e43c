"""Who takes the place of a worker that ended: the next child of the same parent.

Servers recycle their workers (Celery's max-tasks-per-child, gunicorn's max-requests),
and what leaks in one leaks in the next. The heir is known by what the registry says of
it: same parent, same program, same kind, and not there when the worker was last seen.
Only workers of this machine are looked for.
"""

import time
from collections.abc import Mapping
from threading import Event
from typing import Any

from liveheap_client import workers
from liveheap_client.errors import ConnectError
from liveheap_client.workers import Worker

EVERY_S = 0.1
_FAMILY = ("ppid", "program", "kind")


class Succession:
    """The worker of a hunt, as last seen, and those beside it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._last: Worker | None = None
        self._present: set[int] = set()
        self.told = ""

    def saw(self, header: Mapping[str, Any]) -> None:
        """Note who was just asked, by the header of its snapshot."""
        here = self._here()
        who = (header.get("pid"), header.get("start_time"))
        found = [w for w in here if (w.pid, w.entry.start_time) == who]
        self._last = found[0] if found else None
        self._present = {worker.pid for worker in here}

    def heir(self, patience_s: float) -> int | None:
        """Return the pid of the worker that took over; None if none comes in time."""
        last, nobody = self._last, Event()
        until = time.monotonic() + patience_s
        while last is not None:
            found = [worker for worker in self._here() if self._succeeds(worker, last)]
            if found:
                heir = min(found, key=lambda worker: worker.entry.start_time)
                self.told = f"worker {last.pid} ended, {heir.pid} took its place"
                return heir.pid
            if time.monotonic() >= until:
                return None
            nobody.wait(EVERY_S)
        return None

    def _succeeds(self, worker: Worker, last: Worker) -> bool:
        return worker.pid not in self._present and all(
            worker.fact(name) == last.fact(name) for name in _FAMILY
        )

    def _here(self) -> list[Worker]:
        try:
            return workers.local(self._environ)
        except ConnectError:
            return []
