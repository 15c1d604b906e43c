"""Texts that a heap holds more than once: copies, what they waste, who holds them.

A snapshot taken with `texts` has a keyed hash of the contents of every str and bytes
(FORMAT.md, section 3), and no contents. Equal kind, length and hash are one content
here. What is wasted is what would go if each content were there once, as the largest
of its copies: those of a subclass carry attributes, and some strs keep their UTF-8.

A list of rows may waste most by five thousand names with fifty copies each, of which
none ranks high. So the waste is told twice: by content, each with the paths that hold
the most of its copies; and by path, where each copy bears its share of what its content
wastes. A copy that several paths lead to counts for the one that paths.py prefers.
Texts of liveheap's own are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from liveheap_client.analysis.graph import HeapGraph, column
from liveheap_client.analysis.paths import PathNodes

MOST_HOLDERS: Final = 5
MOST_LOOKED_AT: Final = 10_000

_KINDS = {1: "str", 2: "bytes"}


@dataclass(frozen=True, slots=True)
class TextHolder:
    """A path, and how many copies of a content it holds."""

    path: str
    copies: int


@dataclass(frozen=True, slots=True)
class Duplicate:
    """One content that is there more than once.

    `length` is in characters or bytes, `bytes` the size of all copies; `holders` are
    the paths with the most copies, and `n_holders` how many paths there are. `content`
    is its beginning, if the file is of scope values and no name forbids that; else
    empty.
    """

    type: str
    length: int
    copies: int
    bytes: int
    wasted: int
    holders: tuple[TextHolder, ...]
    n_holders: int
    content: str


@dataclass(frozen=True, slots=True)
class WastefulPath:
    """A path that holds copies, of how many contents, and its share of their waste."""

    path: str
    contents: int
    copies: int
    wasted: int


@dataclass(frozen=True, slots=True)
class Duplicates:
    """What is there more than once, the most wasteful contents first.

    `wasted`, `contents` and `copies` count all that were asked for, `rows` and `paths`
    are at most as many as were wanted, of `n_paths`; `texts` and `bytes` are of all str
    and bytes.
    """

    wasted: int
    contents: int
    copies: int
    texts: int
    bytes: int
    n_paths: int
    paths: tuple[WastefulPath, ...]
    rows: tuple[Duplicate, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        plain = asdict(self)
        plain["duplicates"] = plain.pop("rows")
        return plain


def has_hashes(graph: HeapGraph) -> bool:
    """Whether the snapshot was taken with `texts`."""
    hashed = column(graph.raw, "content_node", np.int32)
    return graph.header.get("texts") is True or len(hashed) > 0


def duplicates(graph: HeapGraph, *, limit: int, least: int = 0) -> Duplicates:
    """Return the contents whose copies waste at least so many bytes."""
    paths = PathNodes.of(graph)
    texts = _Texts(graph, paths)
    wanted = np.flatnonzero((texts.copies > 1) & (texts.wasted >= least))
    order = wanted[np.argsort(texts.wasted[wanted], kind="stable")[::-1]]
    held = _held(texts, paths, wanted)
    return Duplicates(
        texts=len(texts.node),
        bytes=int(texts.size.sum()),
        contents=len(wanted),
        copies=int(texts.copies[wanted].sum()),
        wasted=int(texts.wasted[wanted].sum()),
        n_paths=len(held.path),
        paths=tuple(held.told(paths, limit)),
        rows=tuple(_told(texts, paths, int(group)) for group in order[:limit]),
    )


class _Texts:
    """The hashed objects in the order of their contents, and sums over each content."""

    def __init__(self, graph: HeapGraph, paths: PathNodes) -> None:
        node = column(graph.raw, "content_node", np.int32)
        kind = column(graph.raw, "content_kind", np.uint8)
        length = column(graph.raw, "content_length", np.uint64)
        value = column(graph.raw, "content_hash", np.uint64)
        kept = paths.node_path[node] >= 0
        hidden = paths.own_objects()
        if hidden is not None:
            kept &= ~hidden[node]
        order = np.flatnonzero(kept)
        order = order[np.lexsort((value[order], length[order], kind[order]))]
        self.node, self.kind, self.length = node[order], kind[order], length[order]
        self.size = graph.size[self.node]
        first = _beginnings(self.kind, self.length, value[order])
        self.bounds = np.append(first, len(order))
        self.copies = np.diff(self.bounds)
        self.bytes = _reduced(np.add, self.size, first)
        self.wasted = self.bytes - _reduced(np.maximum, self.size, first)

    def members(self, group: int) -> NDArray[np.int32]:
        """Return the copies of a content."""
        return self.node[self.bounds[group] : self.bounds[group + 1]]


def _beginnings(*columns: NDArray[Any]) -> NDArray[np.intp]:
    """Return where any of some sorted columns changes, the begin included."""
    n = len(columns[0])
    differs = np.ones(n, np.bool_)
    differs[1:] = False
    for each in columns:
        differs[1:] |= each[1:] != each[:-1]
    return np.flatnonzero(differs)


def _reduced(
    how: np.ufunc, values: NDArray[np.uint64], first: NDArray[np.intp]
) -> NDArray[np.uint64]:
    if not len(values):
        return np.zeros(0, np.uint64)
    reduced: NDArray[np.uint64] = how.reduceat(values, first)
    return reduced


@dataclass(frozen=True, slots=True)
class _Held:
    """Sums over the paths that hold copies."""

    path: NDArray[np.int32]
    contents: NDArray[np.intp]
    copies: NDArray[np.intp]
    wasted: NDArray[Any]

    def told(self, paths: PathNodes, limit: int) -> Iterator[WastefulPath]:
        """Yield those that waste most."""
        for i in np.argsort(-self.wasted, kind="stable")[:limit]:
            yield WastefulPath(
                paths.text(int(self.path[i])),
                int(self.contents[i]),
                int(self.copies[i]),
                round(float(self.wasted[i])),
            )


def _held(texts: _Texts, paths: PathNodes, wanted: NDArray[np.intp]) -> _Held:
    n_groups = len(texts.copies)
    rate = np.zeros(n_groups)
    rate[wanted] = texts.wasted[wanted] / np.maximum(texts.bytes[wanted], 1)
    chosen = np.zeros(n_groups, np.bool_)
    chosen[wanted] = True
    group = np.repeat(np.arange(n_groups), texts.copies)
    kept = np.flatnonzero(chosen[group])
    group = group[kept]
    path, place = np.unique(paths.node_path[texts.node[kept]], return_inverse=True)
    pairs = np.unique(place * n_groups + group) if n_groups else place
    return _Held(
        path=path,
        contents=np.bincount(pairs // max(n_groups, 1), minlength=len(path)),
        copies=np.bincount(place, minlength=len(path)),
        wasted=np.bincount(
            place, weights=texts.size[kept] * rate[group], minlength=len(path)
        ),
    )


def _told(texts: _Texts, paths: PathNodes, group: int) -> Duplicate:
    first = int(texts.bounds[group])
    held = paths.node_path[texts.members(group)]
    places, counts = np.unique(held, return_counts=True)
    most = np.lexsort((places, -counts))[:MOST_HOLDERS]
    return Duplicate(
        type=_KINDS[int(texts.kind[first])],
        length=int(texts.length[first]),
        copies=int(texts.copies[group]),
        bytes=int(texts.bytes[group]),
        wasted=int(texts.wasted[group]),
        holders=tuple(
            TextHolder(paths.text(int(places[i]), with_type=False), int(counts[i]))
            for i in most
        ),
        n_holders=len(places),
        content=_content(paths.graph, texts.members(group)),
    )


def _content(graph: HeapGraph, copies: NDArray[np.int32]) -> str:
    """Return what copies of one content hold.

    Of equal texts one may stand where a name forbids to tell it: then none is told.
    """
    told = {graph.previews.text(int(node)) for node in copies[:MOST_LOOKED_AT]}
    if len(copies) > MOST_LOOKED_AT or len(told) != 1:
        return ""
    return told.pop()
