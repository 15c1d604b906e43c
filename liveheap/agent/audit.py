"""Who asked what: one line of JSON per session's start, end and command.

To `audit.log` of the run directory, 0600, at most 1 MiB and one older file; all of a
user's workers there write to the same, and the first to find it full moves it away.
With LIVEHEAP_AUDIT=stderr to the worker's standard error as well, for whoever collects
that. Never through the worker's logging: its handlers are code of the host and would
run on our thread.

A line says `when`, which agent, which session and what; what it says of the `peer` the
kernel vouches for, what stands in `told` the client has said of itself. Arguments are
numbers and switches; of a text only how long it is. The one exception is what is run in
the worker: `code`, because who may run code could else do anything unseen. All text is
cut, and everything beyond ASCII is escaped, so that no line can pretend to be another.
A piece of `code` is cut by nothing else in its line: who runs it could say so much of
himself that no room were left.

A disk that is full, read-only or gone costs the line, which is counted in the next one
that can be written, and nothing else. A standard error that nobody reads is not waited
for, and one that has become another file since the start is left alone: the worker may
have closed it, and opened its database in its place.
"""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Callable, Mapping
from typing import Any

from liveheap import process
from liveheap.commands.evaluating import LONGEST_PART

LIMIT_BYTES = 1 << 20
LONGEST_LINE = 4096  # what a pipe takes in one piece
LONGEST_TEXTS = (1024, 256, 64, 16)
MOST_ENTRIES = 24
DEEPEST = 3
MOST_PLAIN = 6  # time, pid, instance, what, session, scope
STDERR = 2


class Audit:
    """The audit log of one agent. `poll` is given where standard error is wanted."""

    def __init__(
        self, instance: str, *, poll: Callable[[], select.poll] | None = None
    ) -> None:
        self.path: str | None = None
        self._instance = instance
        self._file = Place()
        self._stderr = None if poll is None else Place()
        self._poll = poll
        self._stderr_is = _which_file(STDERR)

    @property
    def lost(self) -> int:
        """How many lines could not be written and are not told of yet."""
        return self._file.lost + (self._stderr.lost if self._stderr else 0)

    def write(self, what: str, session: Any = None, **facts: object) -> None:
        """Add a line. Raises nothing."""
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
            if session.told:
                line["told"] = session.told
        line.update(facts)
        if self.path is not None:
            self._file.put(line, self._append)
        if self._stderr is not None:
            self._stderr.put(line, self._say)

    def _append(self, text: bytes) -> None:
        assert self.path is not None
        process.append(self.path, text, LIMIT_BYTES)

    def _say(self, text: bytes) -> None:
        """Write to standard error, if that is what it was and has room.

        Raises:
            OSError: the line is lost.
        """
        assert self._poll is not None
        if _which_file(STDERR) != self._stderr_is:
            raise FileNotFoundError("standard error is another file now")
        poll = self._poll()
        poll.register(STDERR, select.POLLOUT)
        if not any(event & select.POLLOUT for _, event in poll.poll(0)):
            raise BlockingIOError("nobody reads standard error")
        os.write(STDERR, text)


class Place:
    """Where lines go, and how many are missing since the last that got there."""

    def __init__(self) -> None:
        self.lost = 0

    def put(self, line: Mapping[str, object], send: Callable[[bytes], None]) -> None:
        """Send a line, with how many are missing before it."""
        try:
            send(encoded({**line, "lost": self.lost} if self.lost else line))
        except Exception:
            self.lost += 1
        else:
            self.lost = 0


def encoded(line: Mapping[str, object]) -> bytes:
    """Return a line as JSON, its texts cut as much as that takes."""
    code = line.get("code")
    whole = isinstance(code, str) and len(code) <= LONGEST_PART
    record = {"code": code} if whole else {}
    for longest in LONGEST_TEXTS:
        text = as_json(bounded(line, longest), record)
        if len(text) <= LONGEST_LINE:
            return text
    kept = {name: line[name] for name in list(line)[:MOST_PLAIN]}
    return as_json(bounded({**kept, "cut": True}, 64, DEEPEST - 1), record)


def as_json(line: Mapping[str, object], record: Mapping[str, object]) -> bytes:
    """Return a line with what stands in it as it is."""
    return json.dumps({**line, **record}).encode() + b"\n"


def bounded(value: Any, longest: int, depth: int = 0) -> Any:
    """Return plain data of a bounded size in place of whatever it is."""
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else "a large integer"
    if depth < DEEPEST and isinstance(value, dict):
        return {
            shortened(str(name), longest): bounded(each, longest, depth + 1)
            for name, each in list(value.items())[:MOST_ENTRIES]
        }
    if depth < DEEPEST and isinstance(value, (list, tuple)):
        return [bounded(each, longest, depth + 1) for each in value[:MOST_ENTRIES]]
    return shortened(value if isinstance(value, str) else type(value).__name__, longest)


def shortened(text: str, longest: int) -> str:
    """Return a text, or its beginning and how long it is."""
    if len(text) <= longest:
        return text
    return f"{text[:longest]}... ({len(text)} characters)"


def _which_file(descriptor: int) -> tuple[int, int] | None:
    """Return which file a descriptor is of, None if it is closed."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino
