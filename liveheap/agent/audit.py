"""Who asked what: one line of JSON per session's start, end and command.

To `audit.log` of the run directory, 0600, at most 1 MiB and one older file; all of a
user's workers there write to the same, and the first to find it full moves it away. Not
through the worker's logging: its handlers are code of the host and would run on our
thread. A full disk costs the line, which is counted, and nothing else.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

LIMIT_BYTES = 1 << 20
FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
NEVER_WAIT = os.O_NONBLOCK  # for the reader of a pipe that somebody put there


class Audit:
    """The audit log of one agent."""

    def __init__(self, instance: str) -> None:
        self.path: str | None = None
        self.lost = 0
        self._instance = instance

    def write(self, what: str, session: Any = None, **facts: object) -> None:
        """Add a line. Raises nothing."""
        if self.path is None:
            return
        line: dict[str, object] = {
            "time": round(time.time(), 3),
            "pid": os.getpid(),
            "instance": self._instance,
            "what": what,
        }
        if session is not None:
            line["session"] = session.agreed.session_id.hex()
            line["scope"] = session.agreed.scope.label
            line["peer"] = session.peer
        line.update(facts)
        if self.lost:
            line["lost"] = self.lost
        try:
            self._append(json.dumps(line, default=str).encode() + b"\n")
        except Exception:
            self.lost += 1
        else:
            self.lost = 0

    def _append(self, line: bytes) -> None:
        path = self.path or ""
        file = os.open(path, FLAGS | NEVER_WAIT, 0o600)
        try:
            status = os.fstat(file)
            if status.st_size + len(line) > LIMIT_BYTES:
                if os.stat(path).st_ino == status.st_ino:
                    os.rename(path, f"{path}.1")
                os.close(file)
                file = os.open(path, FLAGS | NEVER_WAIT, 0o600)
            os.write(file, line)
        finally:
            os.close(file)
