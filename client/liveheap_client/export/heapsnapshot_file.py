"""The layout of a `.heapsnapshot`: V8's heap graph as one JSON object.

DevTools scans the file for tokens as it streams in; so the order of the keys counts,
and so do the two counts at the head. Numbers are written in blocks, and only the
strings stay in memory. What trips a reader up:

- a reference names its target by the place of its first number: ordinal * 7;
- the references stand in the order of their sources, delimited by `edge_count`;
- a size above 32 bits would be cut to its low bits: it is clamped;
- a name is cut after 1,024 characters, as V8 does;
- everything is ASCII, so a lone surrogate goes through as its escape.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final, TextIO

import numpy as np
from numpy.typing import NDArray

NODE_FIELDS: Final = 7
EDGE_FIELDS: Final = 3
MOST_SIZE: Final = 0xFFFF_FFFF
MOST_NAME: Final = 1024


class NodeKind(IntEnum):
    """The node types, in V8's order."""

    HIDDEN = 0
    ARRAY = 1
    STRING = 2
    OBJECT = 3
    CODE = 4
    CLOSURE = 5
    REGEXP = 6
    NUMBER = 7
    NATIVE = 8
    SYNTHETIC = 9
    CONCATENATED_STRING = 10
    SLICED_STRING = 11
    SYMBOL = 12
    BIGINT = 13
    OBJECT_SHAPE = 14


class EdgeType(IntEnum):
    """The edge types, in V8's order. Only ELEMENT and HIDDEN bear a number."""

    CONTEXT = 0
    ELEMENT = 1
    PROPERTY = 2
    INTERNAL = 3
    HIDDEN = 4
    SHORTCUT = 5
    WEAK = 6


def _words(names: type[IntEnum]) -> list[str]:
    return [member.name.lower().replace("_", " ") for member in names]


_META: Final = {
    "node_fields": [
        "type",
        "name",
        "id",
        "self_size",
        "edge_count",
        "trace_node_id",
        "detachedness",
    ],
    "node_types": [_words(NodeKind), "string", *["number"] * 5],
    "edge_fields": ["type", "name_or_index", "to_node"],
    "edge_types": [_words(EdgeType), "string_or_number", "node"],
    "trace_function_info_fields": [
        "function_id",
        "name",
        "script_name",
        "script_id",
        "line",
        "column",
    ],
    "trace_node_fields": ["id", "function_info_index", "count", "size", "children"],
    "sample_fields": ["timestamp_us", "last_assigned_id"],
    "location_fields": ["object_index", "script_id", "line", "column"],
}


@dataclass(slots=True)
class Strings:
    """The table of names: each once, the empty one first."""

    texts: list[str] = field(default_factory=lambda: [""])
    _known: dict[str, int] = field(default_factory=lambda: {"": 0})

    def number(self, text: str) -> int:
        """Return the number of a name."""
        text = text[:MOST_NAME]
        number = self._known.setdefault(text, len(self.texts))
        if number == len(self.texts):
            self.texts.append(text)
        return number


@dataclass(frozen=True, slots=True)
class Contents:
    """What goes into a file: blocks of rows, seven or three numbers each."""

    n_nodes: int
    n_edges: int
    nodes: Iterable[NDArray[np.int64]]
    edges: Iterable[NDArray[np.int64]]
    strings: Strings
    facts: Mapping[str, Any] = field(default_factory=dict)


def write(file: TextIO, contents: Contents) -> None:
    """Write a file; names may be added while the blocks are made."""
    head = {
        "meta": _META,
        "node_count": contents.n_nodes,
        "edge_count": contents.n_edges,
        "trace_function_count": 0,
        **contents.facts,
    }
    file.write('{"snapshot":' + json.dumps(head))
    _write_numbers(file, "nodes", contents.nodes)
    _write_numbers(file, "edges", contents.edges)
    for name in ("trace_function_infos", "trace_tree", "samples", "locations"):
        file.write(f',\n"{name}":[]')
    file.write(',\n"strings":[')
    for number, text in enumerate(contents.strings.texts):
        file.write((",\n" if number else "") + json.dumps(text))
    file.write("]}\n")


def _write_numbers(
    file: TextIO, name: str, blocks: Iterable[NDArray[np.int64]]
) -> None:
    file.write(f',\n"{name}":[')
    between = ""
    for block in blocks:
        if block.size:
            # A list of small ints prints itself in C; joining their texts takes longer.
            text = str(block.ravel().tolist())[1:-1]
            file.write(between + text.replace(" ", ""))
            between = ",\n"
    file.write("]")
