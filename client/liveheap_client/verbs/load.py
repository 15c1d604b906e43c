"""Read snapshot files for the verbs that analyse them.

numpy is imported here, when the first file is read: it takes a tenth of a second,
which `status` shall not pay.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from liveheap_client.analysis.graph import HeapGraph
    from liveheap_client.analysis.growth import Series


def load(path: Path) -> "HeapGraph":
    """Read a snapshot file into a graph."""
    from liveheap_client.analysis.graph import HeapGraph  # noqa: PLC0415 - see above

    return HeapGraph.load(path)


def series() -> "Series":
    """Return an empty series of rounds, which keeps no graph."""
    from liveheap_client.analysis.growth import Series  # noqa: PLC0415 - see above

    return Series()
