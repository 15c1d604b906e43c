"""What suspects alone keep, against worked examples and reachability by hand."""

import random
from collections.abc import Iterable

import numpy as np
import pytest
from stream_builder import GraphBuilder, Node

from liveheap_client.analysis.graph import OWNS, HeapGraph
from liveheap_client.analysis.leakshare import leak_shares
from liveheap_client.analysis.paths import PathNodes


def two_caches(*, module_holds_shared: bool) -> tuple[GraphBuilder, Node, Node]:
    """A(1) -> a(10), A -> S(60); B(2) -> b(20), B -> S."""
    b = GraphBuilder()
    shared = b.leaf("bytearray", 60)
    left = b.list([b.leaf("bytes", 10), shared], 1)
    right = b.list([b.leaf("bytes", 20), shared], 2)
    held = {"A": b.list([left]), "B": b.list([right])}
    if module_holds_shared:
        held["S"] = shared
    b.module("worker", held)
    return b, left, right


def shares(b: GraphBuilder, *suspects: Iterable[Node]) -> list[float]:
    graph = HeapGraph.decode([b.stream()])
    paths = PathNodes.of(graph)
    places = graph.address.tolist()
    members = [
        {int(paths.node_path[places.index(node.address // 8)]) for node in nodes}
        for nodes in suspects
    ]
    return leak_shares(paths, [sorted(one) for one in members])


def test_what_two_suspects_share_is_divided_between_them() -> None:
    b, left, right = two_caches(module_holds_shared=False)

    assert shares(b, [left], [right]) == [1 + 10 + 30, 2 + 20 + 30]


def test_what_somebody_else_holds_is_nobodys_share() -> None:
    b, left, right = two_caches(module_holds_shared=True)

    assert shares(b, [left], [right]) == [11, 22]


def test_a_list_of_a_hundred_thousand_links_is_one_share() -> None:
    b = GraphBuilder()
    kind = b.type("worker", "Link", ["next"])
    head = b.instance(kind, [None])
    for _ in range(100_000):
        head = b.instance(kind, [head])
    b.module("worker", {"HEAD": b.list([head])})

    assert shares(b, [head]) == [100_001 * 48]


@pytest.mark.parametrize("seed", range(20))
def test_shares_are_those_of_reachability_by_hand(seed: int) -> None:
    rng = random.Random(seed)
    b = GraphBuilder()
    nodes = [b.list((), rng.randrange(1, 50)) for _ in range(24)]
    for node in nodes:
        node.refs = rng.sample(nodes, rng.randrange(4))
    b.module("worker", {f"R{n}": node for n, node in enumerate(nodes[:4])})
    graph = HeapGraph.decode([b.stream()])
    paths = PathNodes.of(graph)
    chosen = sorted(rng.sample(range(1, len(paths)), 2))

    assert leak_shares(paths, [[path] for path in chosen]) == pytest.approx(
        by_hand(paths, chosen)
    )


def by_hand(paths: PathNodes, chosen: list[int]) -> list[float]:
    graph = paths.graph
    edges: dict[int, list[int]] = {}
    for edge in np.flatnonzero(graph.edge_kind & OWNS):
        edges.setdefault(graph.source(int(edge)), []).append(int(graph.target[edge]))
    roots = {root.node for root in graph.roots}
    starts = {
        node
        for node in range(graph.n_nodes)
        if node not in roots
        and (
            paths.parent_edge[node] == 0xFFFF_FFFF
            or graph.source(int(paths.parent_edge[node])) in roots
        )
    }
    members = [set(np.flatnonzero(paths.node_path == path).tolist()) for path in chosen]

    def reach(begin: set[int], closed: set[int]) -> set[int]:
        seen, todo = set(), [node for node in begin if node not in closed]
        while todo:
            node = todo.pop()
            if node not in seen:
                seen.add(node)
                todo += [n for n in edges.get(node, ()) if n not in closed]
        return seen

    free = reach(starts, set.union(*members))
    led = [reach(one, free) for one in members]
    return [
        sum(int(graph.size[n]) / sum(n in other for other in led) for n in one)
        for one in led
    ]
