"""What every export format offers, and how its result gets its name.

An `Exporter` is made once for a command and writes one graph after the other, so that
it may remember what files of one series have in common. It writes to a place that does
not exist yet; `unpublished` gives that place its final name when all of it is there, so
a name never leads to half a file.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from liveheap_client.analysis.graph import HeapGraph

Tell = Callable[[str, float, float], None]
"""Told what goes on, how much of it is done, and of how much."""


@dataclass(frozen=True, slots=True)
class Written:
    """What went out, and the reservations that a person should know.

    `bytes` and `edges` are None where a format has none. `flags` are names of the
    reservations, which stand in the file's name too, `notes` are sentences.
    """

    nodes: int
    bytes: int | None
    edges: int | None = None
    flags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Exporter(Protocol):
    """One format."""

    suffix: str
    """What the names of its files end with."""
    writes_directory: bool

    def write(self, graph: HeapGraph, place: Path, tell: Tell) -> Written:
        """Write a graph to `place`, where nothing is.

        Raises:
            ClientError: the graph does not fit the format, or a library is missing.
            OSError: `place` cannot be written.
        """


TRUNCATED = "the snapshot is truncated: objects are missing"


@contextlib.contextmanager
def unpublished(directory: Path) -> Iterator[Path]:
    """Lend a name in `directory` to write to; what has it at the end goes away."""
    with tempfile.TemporaryDirectory(dir=directory, prefix=".liveheap-") as name:
        yield Path(name) / "part"


def publish(part: Path, place: Path) -> None:
    """Give what was written its name. Only its owner may read it, like a snapshot.

    Of a directory that is there already only the files with our names are replaced.
    """
    if not part.is_dir():
        part.chmod(0o600)
        os.replace(part, place)
        return
    place.mkdir(mode=0o700, exist_ok=True)
    for file in sorted(part.iterdir()):
        file.chmod(0o600)
        os.replace(file, place / file.name)
