"""Read snapshot files for the verbs that analyse them.

numpy is imported here, when the first file is read: it takes a tenth of a second,
which `status` shall not pay.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from liveheap_client.analysis.graph import HeapGraph
    from liveheap_client.analysis.growth import Round


def load(path: Path) -> "HeapGraph":
    """Read a snapshot file into a graph."""
    from liveheap_client.analysis.graph import HeapGraph  # noqa: PLC0415 - see above

    return HeapGraph.load(path)


def summed(path: Path) -> "Round":
    """Read a snapshot file and sum it up, so that the end has little left to do."""
    from liveheap_client.analysis.growth import Round  # noqa: PLC0415 - see above

    return Round.of(load(path))
