"""Objects of a graph by type, as the worker's own `histogram` would count them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from liveheap.snapshot.format import Tag
from liveheap_client.analysis.graph import HeapGraph

_BLOCK = 1 << 18
"""Objects counted at once: whole columns would take fresh memory for each step."""


@dataclass(frozen=True, slots=True)
class TypeCount:
    """One row: a type, its objects, their shallow bytes."""

    type: str
    count: int
    bytes: int


def by_type(
    graph: HeapGraph, *, without: NDArray[np.bool_] | None = None
) -> dict[str, TypeCount]:
    """Count objects by the name of their type.

    Args:
        graph: the graph; its roots are no objects and do not count.
        without: objects to leave out, a mask over the graph's nodes.
    """
    n_types = len(graph.types)
    counts = np.zeros(n_types, np.int64)
    sizes = np.zeros(n_types)
    for begin in range(0, graph.n_nodes, _BLOCK):
        block = slice(begin, begin + _BLOCK)
        keep = graph.record[block] != Tag.ROOT
        if without is not None:
            keep &= ~without[block]
        kinds = graph.type[block][keep]
        counts += np.bincount(kinds, minlength=n_types)
        sizes += np.bincount(kinds, graph.size[block][keep], n_types)
    rows: dict[str, TypeCount] = {}
    for type_id in np.flatnonzero(counts):
        name = graph.type_name(int(type_id))
        earlier = rows.get(name, TypeCount(name, 0, 0))
        rows[name] = TypeCount(
            name,
            earlier.count + int(counts[type_id]),
            earlier.bytes + int(sizes[type_id]),
        )
    return rows


def table(graph: HeapGraph) -> list[TypeCount]:
    """Return the rows, the most bytes first."""
    return sorted(by_type(graph).values(), key=lambda row: (-row.bytes, row.type))
