"""What the names of a program retain: globals, class attributes, variables of frames.

The dominator tree says what goes if an object goes, and most objects are in the middle
of something. A person knows names: `app.CACHE`, `Cache.registry`, the `rows` of a
greenlet. Each row is one such name with what its object retains; the same variable of a
hundred greenlets is one row. A class stands by its attributes and not by itself.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liveheap.snapshot.format import Tag
from liveheap_client.analysis.accumulation import topmost
from liveheap_client.analysis.filters import Filter
from liveheap_client.analysis.graph import OWNS, EdgeKind, HeapGraph, NodeFlag
from liveheap_client.analysis.paths import PathNodes


@dataclass(frozen=True, slots=True)
class Holder:
    """A name, how many objects it stands for, and what they retain.

    `share` is of the heap, in percent.
    """

    path: str
    type: str
    count: int
    retained: int
    share: float

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def holders(graph: HeapGraph, kept: Filter) -> list[Holder]:
    """Return what each name retains, the most first."""
    tree, paths = graph.dominators, PathNodes.of(graph)
    held = _held(graph) & kept.nodes(graph)
    hidden = paths.own_objects()
    if hidden is not None:
        held &= ~hidden
    members = np.flatnonzero(held)
    places, place = np.unique(paths.node_path[members], return_inverse=True)
    total = max(tree.total, 1)
    rows = []
    order = np.argsort(place, kind="stable")
    bounds = np.searchsorted(place[order], np.arange(len(places) + 1))
    for i, path in enumerate(places):
        group = members[order[bounds[i] : bounds[i + 1]]]
        retained = _retained(graph, group)
        if retained >= kept.least:
            kind = graph.type_name(int(paths.type[path]))
            text = paths.text(int(path), with_type=False)
            share = 100 * retained / total
            rows.append(Holder(text, kind, len(group), retained, share))
    rows.sort(key=lambda row: (-row.retained, row.path))
    return rows


def _retained(graph: HeapGraph, group: NDArray[np.intp]) -> int:
    tree = graph.dominators
    if len(group) == 1:
        return int(tree.retained[group[0]])
    members = np.zeros(graph.n_nodes, np.bool_)
    members[group] = True
    return int(tree.retained[topmost(tree, members)].sum())


def _held(graph: HeapGraph) -> NDArray[np.bool_]:
    """Return a mask of what a global, a class attribute or a variable refers to."""
    holds = graph.flags & NodeFlag.NAMESPACE != 0
    classes = graph.flags & NodeFlag.TYPE != 0
    parts = np.flatnonzero(graph.flags & NodeFlag.FOLDED != 0)
    of_class = graph.dominators.idom[parts]
    holds[parts[classes[of_class]]] = True
    frames = graph.record == Tag.FRAME
    row = graph.row.astype(np.int64)
    source = np.repeat(np.arange(graph.n_nodes), row[1:] - row[:-1])
    kind = graph.edge_kind & ~np.uint8(OWNS)
    value = holds[source] & (kind == EdgeKind.VALUE)
    attribute = classes[source] & (kind == EdgeKind.ATTRIBUTE)
    local = frames[source] & (kind == EdgeKind.LOCAL)
    chosen = (value | attribute | local) & (graph.edge_kind & OWNS != 0)
    held: NDArray[np.bool_] = np.zeros(graph.n_nodes, np.bool_)
    held[graph.target[chosen]] = True
    held[classes | (graph.flags & NodeFlag.MODULE != 0)] = False
    return held
