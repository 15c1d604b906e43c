"""One object and one reference in words, wherever a single one of them is shown.

labels.py has the words of merged paths; these are the same words for one node, which
also knows which thread, module or frame it is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from liveheap_client.analysis.graph import OWNS, EdgeKind, HeapGraph, NodeFlag
from liveheap_client.analysis.labels import (
    Label,
    c_field_text,
    edge_label,
    label_text,
    root_label,
)


def single_edge_text(graph: HeapGraph, edge: int) -> str:
    """Return what one reference is called, by its very key if that is known."""
    return key_text(graph, edge) or edge_text(graph, edge)


def key_text(graph: HeapGraph, edge: int) -> str:
    """Return the key of a dict's value, `['user:4711']`; empty if it is not known.

    Keys that are data are in a file of scope values alone.
    """
    if (
        not len(graph.previews)
        or edge_label(graph, edge) is not Label.ITEM
        or int(graph.edge_kind[edge]) & ~OWNS != EdgeKind.VALUE
    ):
        return ""
    key = graph.previews.text(int(graph.target[edge - 1]))
    return key and f"[{key}]"


def edge_text(graph: HeapGraph, edge: int) -> str:
    """Return what references like this are called: `.rows`, `[*]`, `local "rows"`."""
    label = edge_label(graph, edge)
    name = graph.name(int(graph.edge_name[edge]))
    if label in (Label.ROOT, Label.INTERNAL):
        return name or ("code" if label is Label.INTERNAL else "")
    if label is Label.UNNAMED:
        owner, held = graph.source(edge), int(graph.target[edge])
        kinds = (graph.type_name(int(graph.type[node])) for node in (owner, held))
        return c_field_text(*kinds)
    return label_text(label, name).strip()


def object_text(graph: HeapGraph, node: int) -> str:
    """Return what an object is: its type, or which module, frame or root."""
    root = graph.root_of(node)
    if root is not None:
        task = graph.tasks.of_node(node)
        return f"{task.text()} -> {root_label(root)}" if task else root_label(root)
    if graph.flags[node] & NodeFlag.MODULE:
        return f"module {graph.module_by_node[node].name or '(unnamed)'}"
    frame = graph.frames.get(node)
    kind = graph.type_name(int(graph.type[node]))
    if frame is None:
        return kind
    return frame.text() if kind == "frame" else f"{kind} {frame.text()}"


def single_object_text(graph: HeapGraph, node: int) -> str:
    """Return what one object is, with its content if that is known."""
    content = graph.previews.text(node)
    return f"{object_text(graph, node)}{content and ' '}{content}"


def sources(graph: HeapGraph, edges: NDArray[np.uint32]) -> NDArray[np.intp]:
    """Return the nodes that edges start from."""
    return np.searchsorted(graph.row, edges, side="right") - 1


def edges_to(graph: HeapGraph, nodes: NDArray[np.intp]) -> NDArray[np.uint32]:
    """Return the owning edges whose targets are `nodes`."""
    row, edge = graph.reverse
    return edge[spans(row, nodes)]


def spans(
    row: NDArray[np.uint32] | NDArray[np.int64], nodes: NDArray[np.intp]
) -> NDArray[np.int64]:
    """Return the places of the rows of `nodes`, one row after the other."""
    begin = row[nodes].astype(np.int64)
    length = row[nodes + 1].astype(np.int64) - begin
    skipped = np.repeat(np.cumsum(length) - length, length)
    places: NDArray[np.int64] = (
        np.repeat(begin, length) + np.arange(int(length.sum())) - skipped
    )
    return places
