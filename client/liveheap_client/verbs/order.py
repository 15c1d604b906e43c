"""Several snapshot files in one comparison: none twice, and the oldest first.

Files of one worker are put in the order in which they were taken, by the worker's own
monotonic clock. Those of several stay as they were given: a person may mean something
by that.
"""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from liveheap.errors import SnapshotError
from liveheap.snapshot.reader import Snapshot
from liveheap_client.desk import Desk
from liveheap_client.errors import UsageError

_WHO = ("hostname", "pid", "start_time", "instance")


def in_order(desk: Desk, paths: Sequence[Path]) -> list[Path]:
    """Return the files, oldest first if one worker's; say so where that differs.

    Raises:
        UsageError: a file is given twice.
    """
    refuse_same_file(paths)
    headers = [_header(path) for path in paths]
    moments = _moments(headers)
    if moments is None or moments == sorted(moments):
        return list(paths)
    if len({tuple(header.get(name) for name in _WHO) for header in headers}) > 1:
        desk.terminal.say("note: give the oldest first; these are in another order")
        return list(paths)
    ordered = [paths[n] for n in sorted(range(len(paths)), key=moments.__getitem__)]
    desk.terminal.say(
        f"note: put in the order they were taken in, from {ordered[0].name} to "
        f"{ordered[-1].name}"
    )
    return ordered


def refuse_same_file(paths: Sequence[Path]) -> None:
    """Raise UsageError if a file is given twice: it would never show growth."""
    known: dict[tuple[int, int], Path] = {}
    for path in paths:
        with contextlib.suppress(OSError):
            found = path.stat()
            if (found.st_dev, found.st_ino) in known:
                raise UsageError(
                    f"{path} is given twice", hint="a comparison needs two snapshots"
                )
            known[found.st_dev, found.st_ino] = path


def _header(path: Path) -> Mapping[str, Any]:
    """Return what a file says of itself; of one that cannot be read, nothing."""
    try:
        with Snapshot.open(path, allow_truncated=True) as snapshot:
            return snapshot.header
    except SnapshotError:
        return {}


def _moments(headers: Sequence[Mapping[str, Any]]) -> list[float] | None:
    """Return when the files were taken, all by one clock; None if some do not say."""
    for clock in ("monotonic", "created"):
        found = [header.get(clock) for header in headers]
        moments = [
            value
            for value in found
            if isinstance(value, int | float) and not isinstance(value, bool)
        ]
        one_worker = len({header.get("pid") for header in headers}) == 1
        if len(moments) == len(headers) and (clock == "created" or one_worker):
            return moments
    return None
