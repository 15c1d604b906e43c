"""Read snapshot files for the verbs that analyse them.

numpy is imported here, when the first file is read: it takes a tenth of a second,
which `status` shall not pay.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from liveheap.errors import CorruptSnapshot, SnapshotError, TruncatedSnapshot
from liveheap_client.desk import Desk
from liveheap_client.progress import bar
from liveheap_client.verbs.places import begins_as_snapshot

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
    if isinstance(error, TruncatedSnapshot):
        return "take it again: liveheap snapshot TARGET"
    if isinstance(error, CorruptSnapshot) and begins_as_snapshot(path):
        return "was it copied whole? compare its checksum with the original's"
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
