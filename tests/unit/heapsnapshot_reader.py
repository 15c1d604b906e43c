"""Reads a `.heapsnapshot` and holds it to what DevTools' loader expects.

`read(path)` fails on any violation, then answers questions: nodes by name, edges by
name, retained sizes. Written from the format alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KEYS = [
    "snapshot",
    "nodes",
    "edges",
    "trace_function_infos",
    "trace_tree",
    "samples",
    "locations",
    "strings",
]
WEAK = 6
NUMBERED = (1, 4)


@dataclass(frozen=True)
class Node:
    ordinal: int
    type: str
    name: str
    id: int
    size: int
    edges: tuple[tuple[str, str | int, int], ...]


@dataclass(frozen=True)
class HeapSnapshot:
    head: dict[str, Any]
    nodes: list[Node]
    strings: list[str]

    def named(self, name: str) -> list[Node]:
        return [node for node in self.nodes if node.name == name]

    def the(self, name: str) -> Node:
        (node,) = self.named(name)
        return node

    def edges(self, node: Node) -> dict[str | int, tuple[str, str]]:
        """Return {edge name: (edge type, name of the target)}."""
        return {
            name: (type_, self.nodes[target].name) for type_, name, target in node.edges
        }

    @property
    def total(self) -> int:
        return sum(node.size for node in self.nodes)


def read(path: Path) -> HeapSnapshot:
    pairs: list[list[str]] = []

    def ordered(items: list[tuple[str, Any]]) -> dict[str, Any]:
        pairs.append([key for key, _ in items])
        return dict(items)

    raw = json.loads(path.read_text(encoding="ascii"), object_pairs_hook=ordered)
    assert pairs[-1] == KEYS
    head, strings = raw["snapshot"], raw["strings"]
    assert len(head["meta"]["node_fields"]) == 7
    assert len(raw["nodes"]) == 7 * head["node_count"]
    assert len(raw["edges"]) == 3 * head["edge_count"]
    node_types, edge_types = (
        head["meta"]["node_types"][0],
        head["meta"]["edge_types"][0],
    )
    nodes, at = [], 0
    for ordinal in range(head["node_count"]):
        row = raw["nodes"][7 * ordinal : 7 * ordinal + 7]
        kind, name, id_, size, edge_count, trace, detached = row
        assert 0 <= size <= 0xFFFF_FFFF
        assert id_ % 2 == 1
        assert 0 < id_ <= 0xFFFF_FFFF
        assert (trace, detached) == (0, 0)
        edges = []
        for number in range(at, at + edge_count):
            type_, label, target = raw["edges"][3 * number : 3 * number + 3]
            assert target % 7 == 0
            assert 0 <= target // 7 < head["node_count"]
            text = label if type_ in NUMBERED else strings[label]
            edges.append((edge_types[type_], text, target // 7))
        at += edge_count
        nodes.append(
            Node(ordinal, node_types[kind], strings[name], id_, size, tuple(edges))
        )
    assert at == head["edge_count"], "the sum of edge_count is not edge_count"
    assert len({node.id for node in nodes}) == len(nodes)
    assert len(set(strings)) == len(strings)
    assert max(map(len, strings)) <= 1024
    assert (nodes[0].name, nodes[0].id) == ("", 1)
    _check_reachable(nodes)
    return HeapSnapshot(head, nodes, strings)


def _check_reachable(nodes: list[Node]) -> None:
    seen, stack = {0}, [0]
    while stack:
        for type_, _, target in nodes[stack.pop()].edges:
            if type_ != "weak" and target not in seen:
                seen.add(target)
                stack.append(target)
    lost = [node.name for node in nodes if node.ordinal not in seen]
    assert not lost, f"unreachable over non-weak edges: {lost[:5]}"
