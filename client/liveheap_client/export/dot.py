"""Graphviz source: the dominator tree, or who refers to the objects of a type.

A dominator tree has as many nodes as the heap has objects. So objects that the same
node dominates are one box if they are of one type (or frames of one function); modules
stay apart, for their names say most. Only boxes that retain at least `LEAST_SHARE` of
the heap are drawn, the heaviest ones first; what is left out is said as a number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from liveheap_client.analysis import backrefs
from liveheap_client.analysis.backrefs import dot_text
from liveheap_client.analysis.dominators import SUPER_ROOT
from liveheap_client.analysis.graph import HeapGraph, NodeFlag
from liveheap_client.analysis.labels import root_label
from liveheap_client.analysis.paths import PathNodes
from liveheap_client.export.base import TRUNCATED, Tell, Written
from liveheap_client.export.outline import hidden_nodes
from liveheap_client.quantities import human_bytes

LEAST_SHARE: Final = 0.005
MOST_BOXES: Final = 200
DEEPEST: Final = 24
MOST_NAME: Final = 256


class DotExporter:
    """Writes Graphviz source."""

    suffix = ".dot"
    writes_directory = False

    def __init__(self, type_name: str | None = None) -> None:
        self._type_name = type_name

    def write(self, graph: HeapGraph, place: Path, tell: Tell) -> Written:
        """Write a graph as a picture's source."""
        flags = ("truncated",) if graph.truncated else ()
        notes = [TRUNCATED] if graph.truncated else []
        if self._type_name is not None:
            tree = backrefs.tree(graph, self._type_name)
            place.write_text(tree.to_dot() + "\n", encoding="utf-8")
            return Written(tree.count, None, flags=flags, notes=tuple(notes))
        picture = _Picture(graph)
        with place.open("w", encoding="utf-8") as file:
            for line in picture.lines(tell):
                file.write(line + "\n")
        notes.append(
            f"boxes below {LEAST_SHARE:.1%} of the heap and beyond the first "
            f"{MOST_BOXES} are left out"
        )
        return Written(picture.n_shown, picture.total, flags=flags, notes=tuple(notes))


@dataclass(frozen=True, slots=True)
class _Box:
    """Objects of one kind that the objects of one box dominate."""

    above: int
    nodes: NDArray[np.int32]
    retained: int


class _Picture:
    """The boxes of a dominator tree, from the top down, level by level."""

    def __init__(self, graph: HeapGraph) -> None:
        self._graph = graph
        self._tree = graph.dominators
        self._kind = _kinds(graph)
        parts = graph.flags & NodeFlag.FOLDED != 0
        shown = ~(hidden_nodes(graph, PathNodes.of(graph)) | parts)
        self._shown = np.flatnonzero(shown).astype(np.int32)
        top = self._shown[self._tree.idom[self._shown] == SUPER_ROOT]
        self.total = int(self._tree.retained[top].sum())
        self.n_shown = 0

    def lines(self, tell: Tell) -> Iterator[str]:
        """Yield the picture's source."""
        yield "digraph dominators {"
        yield "  rankdir=LR;"
        yield "  node [shape=box];"
        if self._graph.truncated:
            yield f"  label={dot_text(TRUNCATED)};"
        yield f"  n0 [label={dot_text('heap', human_bytes(self.total))}, style=filled];"
        level = {0: np.array([SUPER_ROOT], np.int32)}
        n_boxes = 0
        for depth in range(DEEPEST):
            tell("merging dominators", depth, DEEPEST)
            boxes = self._boxes(level)[: MOST_BOXES - n_boxes]
            level = {}
            for number, box in enumerate(boxes, n_boxes + 1):
                level[number] = box.nodes
                self.n_shown += len(box.nodes)
                yield f"  n{number} [label={self._label(box)}];"
                yield f"  n{box.above} -> n{number};"
            n_boxes += len(boxes)
        yield "}"

    def _boxes(self, level: Mapping[int, NDArray[np.int32]]) -> list[_Box]:
        """Return the boxes below some, the heaviest first."""
        box_of = np.full(self._graph.n_nodes + 1, -1, np.int32)
        for number, nodes in level.items():
            box_of[nodes + 1] = number
        above = box_of[self._tree.idom[self._shown] + 1]
        nodes, above = self._shown[above >= 0], above[above >= 0]
        order = np.lexsort((self._kind[nodes], above))
        nodes, above, kind = nodes[order], above[order], self._kind[nodes[order]]
        changes = (above[1:] != above[:-1]) | (kind[1:] != kind[:-1])
        bounds = [0, *(np.flatnonzero(changes) + 1), len(nodes)] if len(nodes) else []
        retained = self._tree.retained[nodes]
        boxes = [
            _Box(int(above[begin]), nodes[begin:end], int(retained[begin:end].sum()))
            for begin, end in pairwise(bounds)
        ]
        least = max(1, int(self.total * LEAST_SHARE))
        boxes = [box for box in boxes if box.retained >= least]
        return sorted(boxes, key=lambda box: (-box.retained, int(box.nodes[0])))

    def _label(self, box: _Box) -> str:
        graph, node = self._graph, int(box.nodes[0])
        root, frame = graph.root_of(node), graph.frames.get(node)
        name = graph.type_name(int(graph.type[node]))
        if root is not None:
            name = root_label(root)
        elif graph.flags[node] & NodeFlag.MODULE:
            name = f"module {graph.module_by_node[node].name}"
        elif frame is not None:
            name = frame.text() if graph.type[node] == 0 else f"{name} {frame.text()}"
        count, retained = len(box.nodes), human_bytes(box.retained)
        return dot_text(name[:MOST_NAME], f"x{count}  {retained}")


def _kinds(graph: HeapGraph) -> NDArray[np.int64]:
    """Return what makes objects below one box alike, as a number."""
    kinds = graph.class_of_type[graph.type].astype(np.int64)
    for module in graph.modules:
        kinds[module.node] = -1 - module.node
    n_types = len(graph.types)
    for node, frame in graph.frames.items():
        if frame.code is not None:
            kinds[node] = n_types + frame.code.class_id
    for root in graph.roots:
        kinds[root.node] = -1 - root.node
    return kinds
