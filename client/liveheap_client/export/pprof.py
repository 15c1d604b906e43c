"""A pprof profile of what is held, for `go tool pprof` and whatever reads its format.

A stack is a path node with those above it: `module app`, `app.CACHE -> app.Cache`,
`app.Cache.rows -> list`, `list[*] -> app.Row`. Each sample bears what its path node has
itself, so that pprof's cumulative column is what is held by way of a frame.

Path nodes, not the dominator tree: they have the names of attributes and variables,
there are at most some hundred thousand of them however many objects there are, and
they are the same in every snapshot, so that `-base` finds what grew, at the paths that
`diff` and `leaks` name. What it costs: an object that two hold counts with the one
that is nearer to a root, so a cumulative figure may be more than would be freed.

No system name is given: pprof would take `list[*]` for mangled C++ and shorten it.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from liveheap_client.analysis.graph import HeapGraph
from liveheap_client.analysis.paths import PathNodes
from liveheap_client.export.base import TRUNCATED, Tell, Written
from liveheap_client.export.protobuf import message, number, packed, text

MOST_NAME: Final = 1024
_GZIP_LEVEL = 6
_EVERY = 1 << 14
_SAMPLE_TYPES: Final = (("retained_objects", "count"), ("retained_space", "bytes"))


class PprofExporter:
    """Writes pprof profiles."""

    suffix = ".pb.gz"
    writes_directory = False

    def write(self, graph: HeapGraph, place: Path, tell: Tell) -> Written:
        """Write a graph as a profile."""
        paths = PathNodes.of(graph)
        notes = ["`go tool pprof -base OLD NEW` shows what grew between two of these"]
        flags = ("truncated",) if graph.truncated else ()
        if graph.truncated:
            notes.append(TRUNCATED)
        if paths.truncated:
            notes.append("a cap on path nodes was reached: deep paths are merged")
        profile = _Profile(paths)
        # Without a time in its head the same snapshot gives the same bytes.
        with (
            place.open("wb") as file,
            gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0) as zipped,
        ):
            for piece in profile.pieces(notes, tell):
                zipped.write(piece)
        counted = ~paths.hidden
        return Written(
            nodes=int(paths.count[counted].sum()),
            bytes=int(paths.bytes[counted].sum()),
            flags=flags,
            notes=tuple(notes),
        )


class _Profile:
    """One profile; the numbers of fields are those of pprof's profile.proto."""

    def __init__(self, paths: PathNodes) -> None:
        self._paths = paths
        self._graph = paths.graph
        self._strings = {"": 0}
        self._functions: dict[tuple[int, int, int], int] = {}
        self._roots: dict[int, str] = {}
        self._stacks: dict[int, tuple[int, ...]] = {-1: ()}

    def pieces(self, notes: list[str], tell: Tell) -> Iterator[bytes]:
        """Yield the profile's fields; the strings, known at last, come last."""
        for kind, unit in _SAMPLE_TYPES:
            yield message(
                1, number(1, self._string(kind)) + number(2, self._string(unit))
            )
        yield from self._samples(tell)
        for (name, file, line), function in self._functions.items():
            # A location is a function here, so both have one number.
            yield message(
                4,
                number(1, function) + message(4, number(1, function) + number(2, line)),
            )
            yield message(5, number(1, function) + number(2, name) + number(4, file))
        created = self._graph.header.get("created")
        if isinstance(created, int | float):
            yield number(9, int(created * 1e9))
        space, bytes_ = self._string("space"), self._string("bytes")
        yield message(11, number(1, space) + number(2, bytes_)) + number(12, 1)
        for note in (self._origin(), *notes):
            yield number(13, self._string(note))
        yield number(14, self._string(_SAMPLE_TYPES[-1][0]))
        for string in self._strings:
            yield text(6, string)

    def _samples(self, tell: Tell) -> Iterator[bytes]:
        paths = self._paths
        shown = np.flatnonzero(~paths.hidden & (paths.count > 0))
        for place, path in enumerate(map(int, shown)):
            if place % _EVERY == 0:
                tell("writing paths", place, len(shown))
            values = int(paths.count[path]), int(paths.bytes[path])
            stack = packed(1, self._stack(path))
            yield message(2, stack + packed(2, values) + self._labels(path))

    def _stack(self, path: int) -> tuple[int, ...]:
        """Return a path node and those above it, as functions."""
        stack = self._stacks.get(path)
        if stack is None:
            above = self._stack(int(self._paths.parent[path]))
            stack = self._stacks[path] = (self._function(path), *above)
        return stack

    def _labels(self, path: int) -> bytes:
        above = self._paths.parent[path]
        kind = self._graph.type_name(int(self._paths.type[path])) if above >= 0 else ""
        root = self._root(int(self._paths.group[path]))
        labels = {"type": kind, "root": root}
        return b"".join(
            message(3, number(1, self._string(key)) + number(2, self._string(value)))
            for key, value in labels.items()
            if value
        )

    def _root(self, group: int) -> str:
        text = self._roots.get(group)
        if text is None:
            text = self._roots[group] = self._paths.step_text(group)
        return text

    def _function(self, path: int) -> int:
        graph, paths = self._graph, self._paths
        name = self._string(paths.step_text(path))
        file, line = graph.types[int(paths.type[path])].module, 0
        frame = graph.frames.get(int(paths.example[path]))
        if frame is not None and frame.code is not None:
            file, line = frame.code.filename, frame.code.first_line
        elif paths.parent[path] < 0:
            file = paths.text(path)
        key = (name, self._string(file), line)
        return self._functions.setdefault(key, len(self._functions) + 1)

    def _origin(self) -> str:
        header = self._graph.header
        words = ("tool", "hostname", "program", "pid", "python")
        return " ".join(f"{word}={header[word]}" for word in words if word in header)

    def _string(self, string: str) -> int:
        return self._strings.setdefault(string[:MOST_NAME], len(self._strings))
