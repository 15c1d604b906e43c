"""What each of some suspects alone keeps; what two of them share counts half for each.

Retained size would give it to neither (csrc/leakshare.h says how it is computed).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from liveheap.snapshot.format import Tag
from liveheap_client.analysis.paths import PathNodes
from liveheap_client.analysis.plan import NO_EDGE

MOST_SHARES: Final = 64


def leak_shares(paths: PathNodes, suspects: Sequence[Sequence[int]]) -> list[float]:
    """Return the bytes that each suspect keeps, in their order.

    Args:
        paths: the path nodes of a graph, which say where reachability begins.
        suspects: the path nodes whose objects are the suspect's; 64 suspects at most.
    """
    graph = paths.graph
    number = np.zeros(len(paths), np.uint8)
    for place, members in enumerate(suspects, 1):
        number[list(members)] = place
    # A ROOT has no path node: -1, which here is the last one.
    member = np.where(paths.node_path >= 0, number[paths.node_path], np.uint8(0))
    edges = paths.parent_edge
    held = edges != NO_EDGE
    sources = np.zeros(graph.n_nodes, np.intp)
    sources[held] = np.searchsorted(graph.row, edges[held], side="right") - 1
    from_root = held & (graph.record[sources] == Tag.ROOT)
    starts = np.flatnonzero(~held | from_root).astype(np.int32)
    return graph.raw.leak_shares(
        member.astype(np.uint8).tobytes(), starts.tobytes(), len(suspects)
    )
