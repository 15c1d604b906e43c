"""A graph in depth, for people to look at: types, what holds most, who refers to what.

It is what a report shows of its newest snapshot, whose paths are known from comparing
it. The answer keeps nothing of the graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liveheap.snapshot.format import Tag
from liveheap_client.analysis import backrefs, histogram
from liveheap_client.analysis.graph import HeapGraph
from liveheap_client.analysis.holdings import holdings
from liveheap_client.analysis.paths import PathNodes

MOST_RETAINED = 100
MOST_TREES = 8
TREE_DEPTH = 7
TREE_LIMIT = 3


@dataclass(frozen=True, slots=True)
class Portrait:
    """The answer, as plain data.

    `types` are names, objects and bytes; `retained` the objects that retain most: path,
    type, address, own bytes, retained bytes; `backrefs` trees by the path asked for.
    """

    types: Sequence[tuple[str, int, int]]
    holdings: Mapping[str, Any]
    retained: Sequence[tuple[str, str, str, int, int]]
    backrefs: Mapping[str, Mapping[str, Any]]


def of(paths: PathNodes, asked: Iterable[str] = ()) -> Portrait:
    """Describe a graph.

    Args:
        paths: of the graph.
        asked: paths as `PathNodes.text` writes them; who refers to the objects of the
            first few is told.
    """
    graph = paths.graph
    trees = {}
    for text in list(asked)[:MOST_TREES]:
        objects = objects_of(paths, text)
        if len(objects):
            kind = graph.type_name(int(graph.type[objects[0]]))
            tree = backrefs.grow(
                graph, paths, kind, objects, depth=TREE_DEPTH, limit=TREE_LIMIT
            )
            trees[text] = tree.to_json()
    rows = histogram.by_type(graph, without=paths.own_objects()).values()
    ordered = sorted(rows, key=lambda row: (-row.bytes, row.type))
    return Portrait(
        types=[(row.type, row.count, row.bytes) for row in ordered],
        holdings=holdings(paths).to_json(),
        retained=_retained(paths),
        backrefs=trees,
    )


def round_of(graph: HeapGraph, name: str) -> dict[str, Any]:
    """Return what the file of this name says of its round: header, trailer, sums."""
    header = {
        key: value
        for key, value in graph.header.items()
        if isinstance(value, str | int | float)
    }
    trailer = {key: graph.trailer.get(key) for key in ("reason", "flags", "pause_ns")}
    complete = not graph.truncated and graph.trailer.get("complete") is not False
    return {**header, **trailer, **graph.facts, "complete": complete, "file": name}


def objects_of(paths: PathNodes, text: str) -> NDArray[np.intp]:
    """Return the objects of the path with this text; none if there is no such path."""
    graph = paths.graph
    # Most paths' texts end with their type, and making all texts would take seconds.
    types = [n for n, info in enumerate(graph.types) if text.endswith(f" {info.name}")]
    alike = np.isin(paths.type, types or np.unique(paths.type)) & (paths.count > 0)
    wanted = [int(p) for p in np.flatnonzero(alike) if paths.text(int(p)) == text]
    return np.flatnonzero(np.isin(paths.node_path, wanted) & ~graph.dominators.parts)


def _retained(paths: PathNodes) -> list[tuple[str, str, str, int, int]]:
    """Return the objects that retain most; of a long list of links only the first.

    Roots, parts of objects and liveheap's own are left out.
    """
    graph, dominators = paths.graph, paths.graph.dominators
    shown = (graph.record != Tag.ROOT) & ~dominators.parts
    inner = dominators.idom >= 0
    shown &= ~(inner & (paths.node_path[dominators.idom] == paths.node_path))
    own = paths.own_objects()
    if own is not None:
        shown &= ~own
    objects = np.flatnonzero(shown)
    order = np.argsort(~dominators.retained[objects], kind="stable")
    return [
        (
            paths.text(int(paths.node_path[node])),
            graph.type_name(int(graph.type[node])),
            f"0x{int(graph.address[node]) * 8:x}",
            int(graph.size[node]),
            int(dominators.retained[node]),
        )
        for node in map(int, objects[order[:MOST_RETAINED]])
    ]
