"""One object: what it is, who refers to it, what it refers to.

An address means something in its own snapshot only: CPython gives a freed one to the
next object of that size, so in another file the same number is another object.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liveheap.errors import CommandError
from liveheap.snapshot.format import Tag
from liveheap_client.analysis.filters import Filter
from liveheap_client.analysis.graph import OWNS, HeapGraph, Node
from liveheap_client.analysis.paths import PathNodes
from liveheap_client.analysis.retaining import known_referrers
from liveheap_client.analysis.steps import single_edge_text, single_object_text, sources


@dataclass(frozen=True, slots=True)
class Reference:
    """One reference from or to the object: its name, and who is at its other end.

    A part of an object (its `__dict__`) is that object. A root has no `address`. `owns`
    is false for references that keep nothing alive.
    """

    name: str
    object: str
    address: int | None
    retained: int
    owns: bool


@dataclass(frozen=True, slots=True)
class Inspection:
    """One object. `refcount` is None for an immortal one."""

    address: int
    type: str
    what: str
    size: int
    retained: int
    refcount: int | None
    known_referrers: int
    held_by: tuple[str, ...]
    referrers: tuple[Reference, ...]
    more_referrers: int
    referents: tuple[Reference, ...]
    more_referents: int

    @property
    def excess(self) -> int | None:
        """References that nobody we know of explains."""
        if self.refcount is None:
            return None
        return max(self.refcount - self.known_referrers, 0)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {**asdict(self), "excess": self.excess}


def parse_address(word: str) -> int | None:
    """Return the number that an address is written as, None if it is none."""
    try:
        number = int(word, 0)
    except ValueError:
        return None
    return number if number >= 0 else None


def node_at(graph: HeapGraph, address: int) -> int:
    """Return the node of an object by its address.

    Raises:
        CommandError: `bad-argument`: nothing begins there.
    """
    found = np.flatnonzero(
        (graph.address == np.uint64(address >> 3 & (1 << 61) - 1))
        & (graph.record != Tag.ROOT)
    )
    if not len(found) or address & 7:
        raise CommandError(
            "bad-argument",
            f"no object begins at {address:#x} in this snapshot",
            hint="an address means something only in the file it was printed from",
        )
    return int(found[0])


def inspect(graph: HeapGraph, node: int, kept: Filter, *, limit: int) -> Inspection:
    """Describe one object; `kept` chooses among its referrers and referents."""
    first, end = int(graph.row[node]), int(graph.row[node + 1])
    out = np.arange(first, end, dtype=np.uint32)
    into = np.flatnonzero(graph.target == node).astype(np.uint32)
    mask = kept.nodes(graph) & (graph.dominators.retained >= kept.least)
    if not kept.by_type and not kept.min_size:
        mask[:] = True
    holders, held = sources(graph, into), graph.target[out].astype(np.intp)
    into, out = into[mask[holders]], out[mask[held]]
    refcount = int(graph.refcount[node])
    return Inspection(
        address=Node(graph, node).address,
        type=graph.type_name(int(graph.type[node])),
        what=single_object_text(graph, node),
        size=int(graph.size[node]),
        retained=int(graph.dominators.retained[node]),
        refcount=refcount or None,
        known_referrers=known_referrers(graph, node),
        held_by=tuple(PathNodes.of(graph).retaining_path(node)),
        referrers=_references(graph, into[:limit], sources(graph, into[:limit])),
        more_referrers=max(len(into) - limit, 0),
        referents=_references(graph, out[:limit], graph.target[out[:limit]]),
        more_referents=max(len(out) - limit, 0),
    )


def _references(
    graph: HeapGraph,
    edges: NDArray[np.uint32],
    ends: NDArray[np.intp] | NDArray[np.int32],
) -> tuple[Reference, ...]:
    pairs: Iterable[tuple[int, int]] = zip(edges.tolist(), ends.tolist(), strict=True)
    tree = graph.dominators
    found = []
    for edge, node in pairs:
        end = int(tree.idom[node]) if tree.is_part(node) else node
        found.append(
            Reference(
                single_edge_text(graph, edge),
                single_object_text(graph, end),
                None if graph.record[end] == Tag.ROOT else Node(graph, end).address,
                int(tree.retained[end]),
                bool(graph.edge_kind[edge] & OWNS),
            )
        )
    return tuple(found)
