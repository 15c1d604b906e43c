"""Walks of this very process, decoded: what the tests of the walker look at."""

from __future__ import annotations

import collections
import gc
import sys
import tempfile
import types
from dataclasses import dataclass
from typing import Any

import stream

from liveheap import _heap

CHILD_TIMEOUT_S = 60.0


def raw_here(kind: str = "graph", **options: Any) -> bytes:
    """Walk in this process, with the GIL held."""
    with tempfile.TemporaryFile() as spool:
        _heap.walk_here(spool.fileno(), kind, options)
        spool.seek(0)
        return spool.read()


def raw_child(kind: str = "graph", **options: Any) -> bytes:
    """Walk in a clone, as a snapshot does."""
    with tempfile.TemporaryFile() as spool:
        child = _heap.snapshot_start(spool.fileno(), kind, options)
        child.wait(CHILD_TIMEOUT_S)
        status = child.status()
        assert status["code"] == "complete", status
        spool.seek(0)
        return spool.read()


def graph_here(**options: Any) -> stream.Graph:
    return stream.decode(raw_here(**options))


def graph_child(**options: Any) -> stream.Graph:
    return stream.decode(raw_child(**options))


def reaches(graph: stream.Graph, address: int) -> list[str]:
    """By what names an object is referred to: `TYPE.NAME` of each referrer."""
    names = []
    for node, edge in graph.referrers(address):
        owner = node.type.name if node.type else "frame"
        name = edge.name
        if edge.kind == "value":
            name = graph.strings.get(int(str(name)), "*")
        names.append(f"{owner}.{name}")
    for root in graph.roots:
        names += [f"{root.kind}.{name}" for name, to in root.refs if to == address]
    return names


@dataclass
class Seen:
    """One tracked object, as the interpreter showed it before and after a walk."""

    obj: object
    referents: collections.Counter[int]
    size: int


def _look(obj: object) -> tuple[list[int], int]:
    try:
        size = sys.getsizeof(obj)
    except Exception:  # whatever the __sizeof__ of a type raises
        size = 0
    return list(map(id, gc.get_referents(obj))), size


def compare_heap() -> tuple[stream.Graph, list[Seen]]:
    """A walk of this process, and every tracked object that stood still meanwhile."""
    gc.collect()
    tracked = gc.get_objects()
    before = [_look(obj) for obj in tracked]
    raw = raw_here()
    after = [_look(obj) for obj in tracked]
    seen = [
        Seen(obj, collections.Counter(was[0]), was[1])
        for obj, was, is_now in zip(tracked, before, after, strict=True)
        if was == is_now and not isinstance(obj, types.FrameType)
    ]
    assert len(seen) > 0.98 * len(tracked)
    return stream.decode(raw), seen
