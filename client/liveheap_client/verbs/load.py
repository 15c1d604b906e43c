"""Read snapshot files for the verbs that analyse them.

numpy is imported here, when the first file is read: it takes a tenth of a second,
which `status` shall not pay.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from liveheap.errors import CorruptSnapshot, SnapshotError, TruncatedSnapshot
from liveheap_client.commands.fetch import SUFFIX, fetch
from liveheap_client.desk import Desk
from liveheap_client.progress import bar
from liveheap_client.render.escape import visible
from liveheap_client.verbs.places import (
    NAMES_A_WORKER,
    begins_as_snapshot,
    is_snapshot,
)
from liveheap_client.verbs.snapshot import summary, teller, troubles

MOST_NAMES_LEARNED = 20_000

if TYPE_CHECKING:
    from liveheap_client.analysis.graph import HeapGraph
    from liveheap_client.analysis.growth import Series


def load(path: Path) -> "HeapGraph":
    """Read a snapshot file into a graph; an error says what to try."""
    from liveheap_client.analysis.graph import HeapGraph  # noqa: PLC0415 - see above

    try:
        return HeapGraph.load(path)
    except SnapshotError as error:
        if error.hint is None:
            error.hint = _hint(error, path)
        raise


def _hint(error: SnapshotError, path: Path) -> str:
    """Return what to try with a file that is no whole snapshot."""
    if path.is_file() and not os.access(path, os.R_OK):
        return "ask as the user whose file it is"
    if isinstance(error, TruncatedSnapshot):
        return "take it again: liveheap snapshot TARGET"
    if isinstance(error, CorruptSnapshot) and begins_as_snapshot(path):
        return "was it copied whole? compare its checksum with the original's"
    if path.suffix != SUFFIX and path.is_file():
        return f"liveheap snapshot TARGET writes one; {NAMES_A_WORKER}"
    return "liveheap snapshot TARGET writes one"


def series() -> "Series":
    """Return an empty series of rounds, which keeps no graph."""
    from liveheap_client.analysis.growth import Series  # noqa: PLC0415 - see above

    return Series()


def read(desk: Desk, path: Path) -> "HeapGraph":
    """Read a snapshot file, with a word on the screen if it takes a while."""
    with bar(desk.terminal) as progress:
        progress.update(f"reading {path.name}")
        return load(path)


def graph_of(
    desk: Desk, place: str | None, *, args: Mapping[str, Any] | None = None
) -> "HeapGraph":
    """Return the graph of a snapshot file, or of a worker after a snapshot of it.

    No place at all is the shell's newest snapshot, if there is one. `args` are for the
    snapshot of a worker.
    """
    if place is None and desk.newest is not None:
        desk.terminal.say(f"from {desk.newest.name}; `snapshot` takes a newer one")
        place = str(desk.newest)
    if place is not None and is_snapshot(place):
        graph = read(desk, Path(place))
        desk.later.append(graph.keep)
        return _learned(desk, graph)
    with desk.caller(place) as caller, desk.scratch() as directory:
        path = directory / "newest.liveheap"
        with bar(desk.terminal) as progress:
            blob = fetch(
                caller,
                path,
                args=args,
                on_progress=teller(progress),
                on_trouble=troubles(desk, progress),
                elsewhere="TMPDIR=DIR before the command",
            )
        if desk.terminal.talk_is_watched:
            desk.terminal.say(summary(blob, path.stat().st_size))
        if desk.in_shell:
            desk.newest = path
        return _learned(desk, read(desk, path))


def _learned(desk: Desk, graph: "HeapGraph") -> "HeapGraph":
    """Let a shell complete the types of a graph, as they are printed."""
    if desk.in_shell:
        numbers = range(1, min(len(graph.types), MOST_NAMES_LEARNED))
        desk.names.update(visible(graph.type_name(number)) for number in numbers)
    return graph
