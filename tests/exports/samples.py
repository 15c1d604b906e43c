"""Heaps that are hard to export, small ones; each function returns a builder.

`stream_builder` is tests/unit's: whoever imports this has that folder on its path.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from stream_builder import INTERNAL, C, GraphBuilder

from liveheap_client.analysis.graph import HeapGraph
from liveheap_client.export.base import Exporter, Written
from liveheap_client.export.heapsnapshot_file import Contents, Strings, write

HOSTILE = ["Größe€𝄞", 'a"b\\c', "\x1b[31m\n\x00", "<script>", '"nodes":[', "]}"]
LONG = "x" * 10_000
# Total 352; `module app` retains all of it, its dict 280, the instance 48.
MINIMAL_NODES = [
    [9, 0, 1, 0, 1, 0, 0],
    [9, 1, 3, 0, 1, 0, 0],
    [3, 2, 5, 72, 1, 0, 0],
    [3, 3, 7, 232, 2, 0, 0],
    [3, 4, 9, 48, 0, 0, 0],
]
MINIMAL_EDGES = [[1, 1, 7], [3, 2, 14], [2, 5, 21], [2, 6, 28], [1, 0, 28]]
MINIMAL_STRINGS = ["", "(GC roots)", "module app", "dict", "app.Leaky", "CACHE", "k"]


def export(exporter: Exporter, builder: GraphBuilder, place: Path) -> Written:
    """Export what a builder makes."""
    return exporter.write(HeapGraph.decode([builder.stream()]), place, lambda *_: None)


def write_minimal(place: Path, *, more: str = "") -> None:
    """Write the smallest `.heapsnapshot` with exact answers, and a name more."""
    strings = Strings()
    for text in [*MINIMAL_STRINGS, more]:
        strings.number(text)
    nodes, edges = np.array(MINIMAL_NODES), np.array(MINIMAL_EDGES)
    with place.open("w", encoding="ascii") as file:
        write(
            file, Contents(5, 5, iter([nodes[:2], nodes[2:]]), iter([edges]), strings)
        )


def cycle() -> GraphBuilder:
    """Two objects that nobody refers to but each other, through their dicts."""
    b = GraphBuilder()
    node = b.type("app", "Node", [(INTERNAL, "__dict__")])
    one, two = b.instance(node, [None]), b.instance(node, [None])
    one.refs = [b.named_dict({"other": two})]
    two.refs = [b.named_dict({"other": one})]
    return b


def giant() -> GraphBuilder:
    """An object of four gibibytes and a bit."""
    b = GraphBuilder()
    b.root(C, [("held", b.leaf("array.array", (4 << 30) + 5))])
    return b


def names() -> GraphBuilder:
    """Types whose names a file, a terminal or a reader could trip over."""
    b = GraphBuilder()
    kinds = [b.type("app", name) for name in [*HOSTILE, LONG]]
    b.root(C, [("held", b.list([b.instance(kind) for kind in kinds]))])
    return b


TRAPS: dict[str, Callable[[], GraphBuilder]] = {
    "cycle": cycle,
    "giant": giant,
    "names": names,
    "empty": GraphBuilder,
}
