"""Why an object is alive: several retaining paths, distinct, the best first.

The first path of an object is the one that the path search found, by its classes of
roots. Another one begins anew at some other root and meets it on the way: walking the
first path upwards from the object, each further referrer that is held by a path of its
own, one which does not lead through that place, gives one. So the paths differ in who
refers to the object where that is possible, else further up. Among such, those of
better roots come first, then shorter ones. The search is bounded; `more` are the ways
that it found beyond those told.

Of a type, the paths are those of the path nodes that hold most of its objects.

An orphan is held by nothing that we see: more references exist than objects explain.
That is what a reference leak in C looks like, or something that C code keeps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liveheap_client.analysis.accumulation import topmost
from liveheap_client.analysis.filters import Filter
from liveheap_client.analysis.graph import EdgeKind, HeapGraph, Node, NodeFlag
from liveheap_client.analysis.labels import Group
from liveheap_client.analysis.paths import PathNodes
from liveheap_client.analysis.plan import NO_EDGE
from liveheap_client.analysis.steps import edges_to
from liveheap_client.analysis.typenames import objects_of_type

_MOST_STEPS = 200_000
_MOST_REFERRERS = 2_000
_TYPE_HEAP = 1
_Rank = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class RetainingPath:
    """One way that leads to an object, from its root down, a line a step.

    `count` objects are held so, and retain `retained` bytes; `address` is the one that
    is shown. `excess` is how many references nobody explains, at the object where the
    path begins, if that one is an orphan; else None.
    """

    steps: tuple[str, ...]
    count: int
    retained: int
    address: int
    excess: int | None

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Retention:
    """What was asked for, and how it is held; `more` ways were not told."""

    subject: str
    count: int
    retained: int
    paths: tuple[RetainingPath, ...]
    more: int

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def of_type(graph: HeapGraph, type_name: str, kept: Filter, *, most: int) -> Retention:
    """Return how the objects of a type are held.

    Raises:
        CommandError: `no-such-type`, with the names that come close.
    """
    name, objects = objects_of_type(graph, type_name)
    tree, paths = graph.dominators, PathNodes.of(graph)
    objects = objects[tree.retained[objects] >= kept.least]
    if kept.by_type:
        objects = objects[kept.nodes(graph)[objects]]
    hidden = paths.own_objects()
    if hidden is not None:
        objects = objects[~hidden[objects]]
    places, place, counts = np.unique(
        paths.node_path[objects], return_inverse=True, return_counts=True
    )
    ranked = np.argsort(-counts, kind="stable")
    found = []
    for i in ranked[:most]:
        members = objects[place == i]
        node = int(members[0])
        found.append(
            RetainingPath(
                tuple(paths.retaining_path(node)),
                len(members),
                _retained(graph, members),
                Node(graph, node).address,
                _excess_at_start(paths, node),
            )
        )
    retained = _retained(graph, objects)
    return Retention(
        name, len(objects), retained, tuple(found), len(places) - len(found)
    )


def of_object(graph: HeapGraph, node: int, *, most: int) -> Retention:
    """Return how one object is held."""
    paths = PathNodes.of(graph)
    retained = int(graph.dominators.retained[node])
    address = Node(graph, node).address

    def path(steps: list[str], begins: int) -> RetainingPath:
        excess = _excess_at_start(paths, begins)
        return RetainingPath(tuple(steps), 1, retained, address, excess)

    found = {path.steps: path for path in [path(paths.retaining_path(node), node)]}
    others = _Others(paths, node).ranked()
    told = 0
    while told < len(others) and len(found) < most:
        source, edge, down = others[told]
        steps = [*paths.retaining_path(source), paths.step_line(down[0], edge)]
        steps += [paths.step_line(step, _edge_of(paths, step)) for step in down[1:]]
        other = path([step for step in steps if step], source)
        found.setdefault(other.steps, other)
        told += 1
    more = len(others) - told
    kind = graph.type_name(int(graph.type[node]))
    return Retention(
        f"{kind} at {address:#x}", 1, retained, tuple(found.values()), more
    )


def known_referrers(graph: HeapGraph, node: int) -> int:
    """Return how many counted references to an object are known."""
    known = graph.target == node
    borrowed = (graph.edge_kind[known] & 0x7F) == EdgeKind.BORROWED
    count = int(known.sum()) - int(borrowed.sum())
    if graph.flags[node] & NodeFlag.TYPE:
        for number, info in enumerate(graph.types):
            if info.node == node and info.flags & _TYPE_HEAP:
                count += int((graph.type == number).sum())
    return count


class _Others:
    """Further ways to an object, beside the path that the search found."""

    def __init__(self, paths: PathNodes, node: int) -> None:
        self._paths = paths
        self._graph = paths.graph
        self._steps_left = _MOST_STEPS
        self._chain = [node, *self._iter_holders(node)]

    def ranked(self) -> list[tuple[int, int, list[int]]]:
        """Return where each way joins: the source, its edge, the rest of the path."""
        ways: dict[tuple[int, int], tuple[_Rank, int, list[int]]] = {}
        for place, node in enumerate(self._chain):
            down = self._chain[place::-1]
            for edge in edges_to(self._graph, np.array([node]))[:_MOST_REFERRERS]:
                source = self._graph.source(int(edge))
                way = (source, int(self._graph.edge_name[edge]))
                if edge == self._paths.parent_edge[node] or way in ways:
                    continue
                length = self._length_without(source, node)
                if length is not None:
                    rank = (place, self._class_of(source), length + place)
                    ways[way] = (rank, int(edge), down)
            if self._steps_left <= 0 or len(ways) > _MOST_REFERRERS:
                break
        ordered = sorted(ways.items(), key=lambda way: (way[1][0], way[0]))
        return [(source, edge, down) for (source, _), (_, edge, down) in ordered]

    def _class_of(self, node: int) -> int:
        """Return a number that is lower for roots which a person knows."""
        path = int(self._paths.node_path[node])
        return 99 if path < 0 else int(self._paths.label_kind[self._paths.group[path]])

    def _length_without(self, node: int, avoided: int) -> int | None:
        """Return how long a node's own path is, None if it leads through `avoided`."""
        if self._graph.root_of(node) is not None:
            return 0
        path = int(self._paths.node_path[node])
        if node == avoided or path < 0 or self._paths.hidden[path]:
            return None
        length = 1
        for holder in self._iter_holders(node):
            length += 1
            if holder == avoided:
                return None
        return length if self._steps_left > 0 else None

    def _iter_holders(self, node: int) -> Iterator[int]:
        """Yield what holds a node, up to below its root."""
        while (edge := int(self._paths.parent_edge[node])) != NO_EDGE:
            node = self._graph.source(edge)
            self._steps_left -= 1
            if self._steps_left <= 0 or self._graph.root_of(node) is not None:
                return
            yield node


def _edge_of(paths: PathNodes, node: int) -> int:
    return int(paths.parent_edge[node])


def _retained(graph: HeapGraph, objects: NDArray[np.intp]) -> int:
    members = np.zeros(graph.n_nodes, np.bool_)
    members[objects] = True
    return int(graph.dominators.retained[topmost(graph.dominators, members)].sum())


def _excess_at_start(paths: PathNodes, node: int) -> int | None:
    """Return the unexplained references of the orphan that a node's path begins at."""
    path = int(paths.node_path[node])
    if path < 0 or paths.label_kind[paths.group[path]] != Group.UNEXPLAINED:
        return None
    graph = paths.graph
    while (edge := int(paths.parent_edge[node])) != NO_EDGE:
        node = graph.source(edge)
    return int(graph.refcount[node]) - known_referrers(graph, node)
