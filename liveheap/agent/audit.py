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

from liveheap import process

LIMIT_BYTES = 1 << 20


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
            text = json.dumps(line, default=str).encode() + b"\n"
            process.append(self.path, text, LIMIT_BYTES)
        except Exception:
            self.lost += 1
        else:
            self.lost = 0
