"""What a file of scope values says of contents: the beginnings of texts, and numbers.

Where there is none for an object, either it has no content, or a name that leads to it
forbids it, or the file is of scope graph, as most are. What is one object's content is
told where one object is told: merged paths still say `[*]`, for their keys differ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from liveheap.snapshot.format import Content
from liveheap_client import _graph

_CUT = "…"


@dataclass(frozen=True, slots=True)
class Previews:
    """The previews of one graph, by node."""

    raw: _graph.Graph
    node: NDArray[np.int32]
    kind: NDArray[np.uint8]
    length: NDArray[np.uint64]
    name: NDArray[np.uint32]

    @classmethod
    def of(cls, raw: _graph.Graph) -> Previews:
        """Look at the columns of a graph."""
        return cls(
            raw,
            np.frombuffer(memoryview(raw.column("preview_node")), np.int32),
            np.frombuffer(memoryview(raw.column("preview_kind")), np.uint8),
            np.frombuffer(memoryview(raw.column("preview_length")), np.uint64),
            np.frombuffer(memoryview(raw.column("preview_name")), np.uint32),
        )

    def __len__(self) -> int:
        return len(self.node)

    def text(self, node: int) -> str:
        """Return an object's content as Python would write it; empty if not known."""
        place = int(np.searchsorted(self.node, np.int32(node)))
        if place == len(self.node) or self.node[place] != node:
            return ""
        text = self.raw.name(int(self.name[place]))
        return written(Content(int(self.kind[place])), text, int(self.length[place]))


def written(kind: Content, text: str, length: int) -> str:
    """Return a content as Python would write it, with a mark where it was cut."""
    if kind is Content.INT:
        return text
    if kind is Content.FLOAT:
        return _float(text)
    quoted = repr(text)
    if kind is not Content.STR:
        quoted = repr(text.encode("latin-1", "replace"))
    if length > len(text):
        quoted = f"{quoted[:-1]}{_CUT}{quoted[-1]}"
    return f"bytearray({quoted})" if kind is Content.BYTEARRAY else quoted


def _float(text: str) -> str:
    try:
        return repr(float.fromhex(text))
    except (ValueError, OverflowError):
        return text
