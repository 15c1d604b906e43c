"""Fetch a snapshot into a file.

Chunks are written as they come, compressed as they are; the writer verifies the whole
before the file gets its name. What a broken link leaves is NAME.part: a truncated
snapshot, never a short file under the final name.
"""

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from liveheap.errors import CommandError, RemoteProtocolError
from liveheap.protocol.messages import Chunk, Progress, Result
from liveheap.protocol.results import Blob
from liveheap.snapshot.writer import SnapshotWriter
from liveheap_client.errors import ClientError, ConnectionLost, UsageError
from liveheap_client.session import Session

SUFFIX = ".liveheap"


@dataclass(frozen=True, slots=True)
class Fetched:
    """How far a snapshot is: objects walked, raw and stored bytes received."""

    phase: str
    nodes: int
    raw_bytes: int
    stored_bytes: int


OnFetched = Callable[[Fetched], None]


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
    session: Session,
    path: Path,
    *,
    args: Mapping[str, Any] | None = None,
    on_progress: OnFetched | None = None,
    elsewhere: str = "-o FILE",
) -> Blob:
    """Take a snapshot of the session's worker into `path`; return its frame.

    `elsewhere` is how a person names another place, should this one be full.
    """
    try:
        return _fetch(session, path, args or {}, on_progress)
    except OSError as exc:
        _discard(path)
        raise ClientError(
            f"cannot write {path}: {exc.strerror or exc}",
            hint=f"another place: {elsewhere}",
        ) from exc
    except ConnectionLost as exc:
        part = Path(f"{path}.part")
        kept = f"; what arrived is in {part}" if part.exists() else ""
        raise ConnectionLost(f"{exc}{kept}", hint=exc.hint) from exc
    except (CommandError, KeyboardInterrupt):
        _discard(path)
        raise


def _fetch(
    session: Session,
    path: Path,
    args: Mapping[str, Any],
    on_progress: OnFetched | None,
) -> Blob:
    nodes = raw_bytes = stored_bytes = 0
    begun = False
    if on_progress:
        on_progress(Fetched("snapshot", 0, 0, 0))
    with (
        SnapshotWriter(path) as writer,
        contextlib.closing(session.stream("snapshot", args)) as events,
    ):
        for event in events:
            if isinstance(event, Result):
                return _finish(writer, event)
            if isinstance(event, Chunk):
                if not begun or event.offset != raw_bytes:
                    raise RemoteProtocolError(
                        f"a chunk at {event.offset}, expected at {raw_bytes}"
                    )
                writer.records(event.codec, event.raw_length, event.data)
                raw_bytes += event.raw_length
                stored_bytes += len(event.data)
            elif event.phase == "header" and not begun:
                writer.header(_header(event))
                begun = True
            else:
                nodes = max(nodes, event.done)
            if on_progress:
                phase = "snapshot" if begun else str(getattr(event, "phase", ""))
                on_progress(Fetched(phase, nodes, raw_bytes, stored_bytes))
    raise ConnectionLost("the snapshot ended without a result")


def _header(event: Progress) -> dict[str, Any]:
    header = event.detail.get("header")
    if not isinstance(header, dict):
        raise RemoteProtocolError("the snapshot's header is not a map")
    return header


def _finish(writer: SnapshotWriter, result: Result) -> Blob:
    if not isinstance(result.shape, Blob):
        raise RemoteProtocolError("a snapshot's result is a blob")
    writer.trailer(result.shape.trailer)
    return result.shape


def _discard(path: Path) -> None:
    with contextlib.suppress(OSError):
        Path(f"{path}.part").unlink()
