"""Walks of this very process, decoded: what the tests of the walker look at."""

from __future__ import annotations

import collections
import gc
import os
import pickle
import subprocess
import sys
import tempfile
import types
from array import array
from collections.abc import Iterator
from typing import Any

import stream

from liveheap import _heap

CHILD_TIMEOUT_S = 60.0
NOT_STILL = (1 << 64) - 1


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


def status_of_child(**options: Any) -> dict[str, Any]:
    """Return what a clone's walk says of itself."""
    with tempfile.TemporaryFile() as spool:
        child = _heap.snapshot_start(spool.fileno(), "graph", options)
        child.wait(CHILD_TIMEOUT_S)
        return child.status()


def graph_here(**options: Any) -> stream.Graph:
    return decode(raw_here(**options))


def graph_child(**options: Any) -> stream.Graph:
    return decode(raw_child(**options))


def decode(raw: bytes) -> stream.Graph:
    """Decode a stream; under a sanitizer, whose malloc is slow, in another process."""
    if "LD_PRELOAD" not in os.environ:
        return stream.decode(raw)
    plain = {**os.environ, "LD_PRELOAD": "", "PYTHONMALLOC": "pymalloc"}
    command = [sys.executable, stream.__file__]
    done = subprocess.run(
        command, input=raw, env=plain, capture_output=True, check=True
    )
    graph = pickle.loads(done.stdout)
    assert isinstance(graph, stream.Graph)
    return graph


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


def _look(obj: object, into: array[int]) -> None:
    """Append its size, the number of its referents, and their addresses."""
    try:
        size = sys.getsizeof(obj)
    except Exception:  # whatever the __sizeof__ of a type raises
        size = 0
    referents = gc.get_referents(obj)
    into.append(size)
    into.append(len(referents))
    into.extend(map(id, referents))


def _breaks(obj: object) -> bool:
    """Whether an object suffers from being asked for its referents.

    To the collector `_asyncio` shows the dead iterators that 3.12 and 3.13 keep for
    later. To be listed gives them a reference, whose end makes them die and be kept
    once more: the list of them is a ring from then on, and every walk has no end.
    """
    return obj is sys.modules.get("_asyncio")


class Comparison:
    """A walk of this process, and what the interpreter shows of each tracked object.

    Only objects that stood still: shown alike before the walk and after it. Kept in
    arrays, since all of it is in the heap of the next walk.
    """

    def __init__(self) -> None:
        gc.collect()
        self.tracked = [each for each in gc.get_objects() if not _breaks(each)]
        before = self._look_at_all()
        raw = raw_here()
        after = self._look_at_all()
        self.graph = decode(raw)
        self._shown = before
        self._still = array("Q")
        at_before = at_after = 0
        for obj in self.tracked:
            end_before = at_before + 2 + before[at_before + 1]
            end_after = at_after + 2 + after[at_after + 1]
            alike = before[at_before:end_before] == after[at_after:end_after]
            is_still = alike and not isinstance(obj, types.FrameType)
            self._still.append(at_before if is_still else NOT_STILL)
            at_before, at_after = end_before, end_after
        assert self._still.count(NOT_STILL) < 0.02 * len(self.tracked)

    def _look_at_all(self) -> array[int]:
        shown = array("Q")
        for obj in self.tracked:
            _look(obj, shown)
        return shown

    def __iter__(self) -> Iterator[tuple[object, int, collections.Counter[int]]]:
        """Each object, its size and its referents."""
        for obj, at in zip(self.tracked, self._still, strict=True):
            if at != NOT_STILL:
                size, n = self._shown[at : at + 2]
                yield obj, size, collections.Counter(self._shown[at + 2 : at + 2 + n])
