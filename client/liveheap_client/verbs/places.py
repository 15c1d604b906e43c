"""A place on the command line: a snapshot file, or a target."""

import contextlib
import os
from pathlib import Path

from liveheap_client.commands.fetch import SUFFIX

SNAPSHOT_MAGIC = b"\x93LHSNAP\n"
NAMES_A_WORKER = "a worker is named by its pid, or localhost/NAME"
_PATHS = ("/", "./", "../", "~")


def is_snapshot(place: str) -> bool:
    """Return whether a word of the command line means a file, not a target.

    A path is one even if nothing is there, and so is `notes.txt` if that file exists:
    nobody wants a host of that name. A file called like a bare host, `web`, counts only
    if it begins as a snapshot does.
    """
    if place.endswith(SUFFIX) or place.startswith(_PATHS):
        return True
    if not os.path.isfile(place):
        return False
    return "." in place or begins_as_snapshot(place)


def begins_as_snapshot(place: str | Path) -> bool:
    """Return whether a file begins as snapshots do."""
    with contextlib.suppress(OSError), Path(place).open("rb") as file:
        return file.read(len(SNAPSHOT_MAGIC)) == SNAPSHOT_MAGIC
    return False
