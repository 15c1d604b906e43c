"""Graphviz source: the dominator tree, or who refers to the objects of a type.

The tree is that of the verb `dominators`: what is alike is one box, what weighs less
than `LEAST_SHARE` of the heap is none. Of each level the heaviest boxes are drawn,
until there are as many as an eye can follow.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from liveheap_client.analysis import backrefs, dominatortree
from liveheap_client.analysis.backrefs import dot_text
from liveheap_client.analysis.dominatortree import LEAST_SHARE, Retainer
from liveheap_client.analysis.filters import Filter
from liveheap_client.analysis.graph import HeapGraph
from liveheap_client.analysis.paths import PathNodes
from liveheap_client.export.base import TRUNCATED, Tell, Written
from liveheap_client.quantities import human_bytes

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
        tell("merging dominators", 0, 1)
        whole = dominatortree.tree(
            PathNodes.of(graph), Filter(), depth=DEEPEST, width=MOST_BOXES
        )
        boxes = list(_boxes(whole))
        source = "\n".join(_lines(whole, boxes, notes))
        place.write_text(f"{source}\n", encoding="utf-8")
        notes.append(
            f"boxes below {LEAST_SHARE:.1%} of the heap and beyond the first "
            f"{MOST_BOXES} are left out"
        )
        shown = sum(box.count for _, box in boxes)
        return Written(shown, whole.retained, flags=flags, notes=tuple(notes))


def _boxes(whole: Retainer) -> Iterator[tuple[int, Retainer]]:
    """Yield the number of the box above, which counts from 1, and each box."""
    level, made = [(0, whole)], 0
    while level:
        below = [(number, child) for number, box in level for child in box.children]
        below.sort(key=lambda drawn: -drawn[1].retained)
        below = below[: MOST_BOXES - made]
        yield from below
        level = [(made + place, box) for place, (_, box) in enumerate(below, 1)]
        made += len(below)


def _lines(
    whole: Retainer, boxes: list[tuple[int, Retainer]], notes: list[str]
) -> Iterator[str]:
    yield "digraph dominators {"
    yield "  rankdir=LR;"
    yield "  node [shape=box];"
    if notes:
        yield f"  label={dot_text(*notes)};"
    total = human_bytes(whole.retained)
    yield f"  n0 [label={dot_text('heap', total)}, style=filled];"
    for number, (above, box) in enumerate(boxes, 1):
        size = f"x{box.count}  {human_bytes(box.retained)}"
        yield f"  n{number} [label={dot_text(box.label[:MOST_NAME], size)}];"
        yield f"  n{above} -> n{number};"
    yield "}"
