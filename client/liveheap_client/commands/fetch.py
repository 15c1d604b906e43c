"""Fetch a snapshot into a file, over a link that may drop.

Chunks are written in the order they come, and packed if they are not; the writer
verifies the whole before the file gets its name. Until then it is NAME.part, which goes
if the whole does not come: a part of a graph answers questions wrongly.

The agent keeps the spool on a lease. A dropped or frozen link is dialled again, a few
times with growing delays, and the same agent asked for what is missing, by the
snapshot's id and the raw bytes that are here. Another agent cannot have it: where the
worker was restarted, recycled or exec'ed, that is the end. So is a host that ssh
refuses to talk to: a changed key does not change back. When the file has its name, the
spool is released.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from liveheap.errors import (
    AuthenticationError,
    CommandError,
    LiveheapError,
    RemoteProtocolError,
)
from liveheap.protocol.auth import Scope
from liveheap.protocol.messages import Chunk, Progress, Result
from liveheap.protocol.results import Blob
from liveheap.snapshot.writer import SnapshotWriter
from liveheap_client.caller import Caller
from liveheap_client.commands.press import Press
from liveheap_client.errors import (
    ClientError,
    ConnectError,
    ConnectionLost,
    HostRefused,
    TransportError,
    UsageError,
    WorkerGone,
)
from liveheap_client.session import Event, Session

SUFFIX = ".liveheap"
LEASE_S = 600.0
RESUME_DELAYS_S = (1.0, 2.0, 5.0, 15.0, 30.0)
_FULL = ("busy", "closed")
_LASTING = (ConnectError, HostRefused, WorkerGone)


@dataclass(frozen=True, slots=True)
class Fetched:
    """How far a snapshot is: objects walked, raw and stored bytes received."""

    phase: str
    nodes: int
    raw_bytes: int
    stored_bytes: int


OnFetched = Callable[[Fetched], None]
OnTrouble = Callable[[str], None]


def _ignore(_what: object) -> None:
    return


def default_path(pid: int, *, directory: Path | None = None) -> Path:
    """Return a name that no other snapshot of that process has."""
    stamp = time.strftime("%Y%m%dT%H%M%S")
    return (directory or Path()) / f"{pid}-{stamp}{SUFFIX}"


def refuse_overwrite(path: Path, *, replace: bool = False) -> None:
    """Raise UsageError if something is at `path`; before the worker is disturbed.

    With `replace` a file may be there. A device or a pipe never: the snapshot would
    take its place, and as root that would be the end of /dev/null.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a directory", hint="-o names a file")
    if str(path) == "-" or (path.exists() and not path.is_file()):
        raise UsageError(
            f"a snapshot goes into a file, and {path} is none", hint="-o names a file"
        )
    if os.path.lexists(path) and not replace:
        raise UsageError(
            f"{path} exists already", hint="-o NAME, or --force-overwrite to replace it"
        )


def fetch(
    caller: Caller,
    path: Path,
    *,
    scope: Scope = Scope.GRAPH,
    args: Mapping[str, Any] | None = None,
    on_progress: OnFetched = _ignore,
    on_trouble: OnTrouble = _ignore,
    elsewhere: str = "-o FILE",
) -> Blob:
    """Take a snapshot of the caller's worker into `path`; return its frame.

    `elsewhere` is how a person names another place, should this one be full.
    """
    try:
        with SnapshotWriter(path) as writer:
            return _Download(caller, scope, writer, on_progress, on_trouble).run(
                args or {}
            )
    except OSError as exc:
        raise ClientError(
            f"cannot write {path}: {exc.strerror or exc}",
            hint=f"another place: {elsewhere}",
        ) from exc
    finally:
        _discard(path)


class _Download:
    """One snapshot on its way into a file, over one session after another."""

    def __init__(
        self,
        caller: Caller,
        scope: Scope,
        writer: SnapshotWriter,
        on_progress: OnFetched,
        on_trouble: OnTrouble,
    ) -> None:
        self._caller = caller
        self._scope = scope
        self._writer = writer
        self._press = Press(writer.records)
        self._on_progress = on_progress
        self._on_trouble = on_trouble
        self._instance = ""
        self._id: str | None = None
        self._begun = False
        self._nodes = self._raw_bytes = self._stored_bytes = 0

    def run(self, args: Mapping[str, Any]) -> Blob:
        """Fetch all of it, however often the link drops within reason."""
        with contextlib.closing(self._press):
            return self._fetch(args)

    def _fetch(self, args: Mapping[str, Any]) -> Blob:
        self._on_progress(Fetched("snapshot", 0, 0, 0))
        try:
            return self._begin(args)
        except TransportError as exc:
            if self._id is None:
                raise
            lost: LiveheapError = exc
        for delay_s in RESUME_DELAYS_S:
            self._tell(lost, delay_s)
            threading.Event().wait(delay_s)
            try:
                return self._go_on()
            except _LASTING:
                raise
            except (TransportError, AuthenticationError) as exc:
                if isinstance(exc, AuthenticationError) and exc.code not in _FULL:
                    raise
                lost = exc
                self._caller.hang_up()
        raise ConnectionLost(
            f"{lost}\nthe snapshot broke off after {self._raw_bytes} bytes; "
            f"gave up after {len(RESUME_DELAYS_S)} attempts to go on",
            hint=lost.hint,
        ) from lost

    def _begin(self, args: Mapping[str, Any]) -> Blob:
        session = self._caller.session(self._scope)
        self._instance = session.ident.instance
        try:
            leased = {**args, "lease_s": LEASE_S}
            return self._take(session, session.stream("snapshot", leased))
        except CommandError as exc:
            if exc.code != "bad-argument" or "lease_s" not in exc.message:
                raise
        return self._take(session, session.stream("snapshot", args))  # an older agent

    def _go_on(self) -> Blob:
        """Have the same agent send what is missing."""
        session = self._caller.session(self._scope)
        if session.ident.instance != self._instance:
            raise WorkerGone(
                f"another agent answers in process {session.ident.pid}: it was "
                "restarted, and the rest of the snapshot is gone",
                hint="take it again: liveheap snapshot TARGET",
            )
        self._on_trouble(f"the link stands again; going on at {self._raw_bytes} bytes")
        rest = {"snapshot": self._id, "offset": self._raw_bytes}
        return self._take(session, session.stream("resume", rest))

    def _tell(self, lost: LiveheapError, delay_s: float) -> None:
        why = "; ".join(str(lost).splitlines())
        self._on_trouble(f"{why}; going on with the snapshot in {delay_s:g} s")
        phase = "the link dropped; dialling again"
        self._on_progress(
            Fetched(phase, self._nodes, self._raw_bytes, self._stored_bytes)
        )
        self._caller.hang_up()

    def _take(self, session: Session, answers: Generator[Event, None, None]) -> Blob:
        """Take what one session sends, up to the result."""
        with contextlib.closing(answers) as events:
            for event in events:
                if isinstance(event, Result):
                    return self._finish(session, event)
                if isinstance(event, Chunk):
                    self._write(event)
                elif event.phase == "header" and not self._begun:
                    self._write_header(event)
                else:
                    self._nodes = max(self._nodes, event.done)
                phase = "snapshot" if self._begun else str(getattr(event, "phase", ""))
                self._on_progress(
                    Fetched(phase, self._nodes, self._raw_bytes, self._stored_bytes)
                )
        raise ConnectionLost("the snapshot ended without a result")

    def _write_header(self, event: Progress) -> None:
        header, known = event.detail.get("header"), event.detail.get("snapshot")
        if not isinstance(header, dict):
            raise RemoteProtocolError("the snapshot's header is not a map")
        self._writer.header(header)
        self._begun = True
        self._id = known if isinstance(known, str) else None

    def _write(self, chunk: Chunk) -> None:
        if not self._begun or chunk.offset != self._raw_bytes:
            raise RemoteProtocolError(
                f"a chunk at {chunk.offset}, expected at {self._raw_bytes}"
            )
        self._press.chunk(chunk.codec, chunk.raw_length, chunk.data)
        self._raw_bytes += chunk.raw_length
        self._stored_bytes += len(chunk.data)

    def _finish(self, session: Session, result: Result) -> Blob:
        if not isinstance(result.shape, Blob):
            raise RemoteProtocolError("a snapshot's result is a blob")
        self._press.flush()
        self._writer.trailer(result.shape.trailer)
        if self._id is not None:
            with contextlib.suppress(LiveheapError):  # else the lease ends it
                session.request("release", {"snapshot": self._id})
        return result.shape


def _discard(path: Path) -> None:
    with contextlib.suppress(OSError):
        Path(f"{path}.part").unlink()
