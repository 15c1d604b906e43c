"""The dominator tree: worked examples, random graphs against three other ways."""

import os
import time

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from stream_arrays import list_stream, rows
from stream_builder import INTERNAL, C, GraphBuilder, Node

from liveheap_client.analysis import dominators_reference
from liveheap_client.analysis.dominators import SUPER_ROOT
from liveheap_client.analysis.graph import OWNS, HeapGraph, NodeFlag

# A sanitizer makes everything several times slower; quadratic is still a minute.
LINEAR_S = 5.0 if "asan" in os.environ.get("LD_PRELOAD", "") else 1.0

Edges = list[tuple[int, int]]


def plain_graph(n: int, edges: Edges, sizes: list[int], roots: list[int]) -> HeapGraph:
    """Return lists which refer to each other, with a C root for each of `roots`."""
    b = GraphBuilder()
    nodes = [b.list(size=sizes[i]) for i in range(n)]
    for source, target in edges:
        nodes[source].refs.append(nodes[target])
    for node in roots:
        b.root(C, [("held", nodes[node])])
    return HeapGraph.decode([b.stream()])


# Node 0 of ANALYSIS.md 3.5 is the super-root here, and the last root its child.
EXAMPLES = {
    "a chain": (
        [(0, 1), (1, 2)],
        [10, 20, 30],
        [0],
        ["R", 0, 1],
        [60, 50, 30],
    ),
    "a diamond": (
        [(0, 1), (0, 2), (1, 3), (2, 3)],
        [1, 2, 4, 8],
        [0],
        ["R", 0, 0, 0],
        [15, 2, 4, 8],
    ),
    "what two share": ([(0, 2), (1, 2)], [1, 2, 100], [0, 1], "RRS", [1, 2, 100]),
    "a cycle": (
        [(0, 1), (1, 2), (2, 1), (2, 3)],
        [1, 2, 4, 8],
        [0],
        ["R", 0, 1, 2],
        [15, 14, 12, 8],
    ),
    "an LRU cache": (
        [(1, 2), (0, 3), (0, 4), (1, 3), (2, 4)],
        [9, 1, 1, 100, 100],
        [0, 1],
        ["R", "R", 1, "S", "S"],
        [9, 2, 1, 100, 100],
    ),
}


@pytest.mark.parametrize("example", EXAMPLES)
def test_worked_example(example: str) -> None:
    edges, sizes, roots, idom, retained = EXAMPLES[example]
    graph = plain_graph(len(sizes), edges, sizes, roots)
    tree = graph.dominators
    n = len(sizes)
    expected = [
        SUPER_ROOT if d == "S" else n + roots.index(i) if d == "R" else d
        for i, d in enumerate(idom)
    ]
    assert tree.idom[:n].tolist() == expected
    assert tree.retained[:n].tolist() == retained


def objects_held(graph: HeapGraph, without: int) -> set[int]:
    """Return what is reached from the tree's entries if one node is gone."""
    starts = entries(graph)
    seen = {without}
    stack = [node for node in starts if node != without]
    seen.update(stack)
    while stack:
        node = stack.pop()
        for edge in range(int(graph.row[node]), int(graph.row[node + 1])):
            target = int(graph.target[edge])
            if graph.edge_kind[edge] & OWNS and target not in seen:
                seen.add(target)
                stack.append(target)
    return seen - {without}


def entries(graph: HeapGraph) -> list[int]:
    return sorted(dominators_reference.entries(graph))


def owned_graph(graph: HeapGraph) -> networkx.DiGraph:
    """Return the graph as networkx knows it, -1 being the super-root."""
    made = networkx.DiGraph()
    made.add_node(SUPER_ROOT)
    made.add_edges_from((SUPER_ROOT, node) for node in entries(graph))
    for edge in np.flatnonzero(graph.edge_kind & OWNS):
        made.add_edge(graph.source(int(edge)), int(graph.target[edge]))
    return made


@st.composite
def random_builders(draw: st.DrawFn) -> GraphBuilder:
    """Draw lists that refer to each other at random; some are in no root's reach."""
    n = draw(st.integers(0, 24))
    b = GraphBuilder()
    pick = st.integers(0, n - 1) if n else st.nothing()
    holder = b.type("app", "Holder", [(INTERNAL, "__dict__")])
    nodes: list[Node] = []
    for i in range(n):
        size = draw(st.integers(0, 1000))
        made = b.dict(size=size) if i % 3 == 0 else b.list(size=size)
        nodes.append(made if i % 5 else b.instance(holder, [None], size))
    refs = draw(st.lists(st.tuples(pick, pick), max_size=3 * n)) if n else []
    for source, target in refs:
        if nodes[source].type is holder:
            nodes[source].refs[0] = nodes[target]
        elif source % 3 == 0:
            nodes[source].refs += [b.text(f"k{target}"), nodes[target]]
        else:
            nodes[source].refs.append(nodes[target])
    for node in draw(st.lists(pick, max_size=4)) if n else []:
        b.root(C, [("held", nodes[node])])
    if n and draw(st.booleans()):
        b.module("app", {"first": nodes[0]})
    return b


@settings(max_examples=120, deadline=None)
@given(random_builders())
def test_equals_networkx_deletion_and_the_reference(builder: GraphBuilder) -> None:
    graph = HeapGraph.decode([builder.stream()])
    tree = graph.dominators
    reference = dominators_reference.dominators(graph)
    assert tree.idom.tolist() == reference.idom.tolist()
    assert tree.retained.tolist() == reference.retained.tolist()
    expected = networkx.immediate_dominators(owned_graph(graph), SUPER_ROOT)
    every = set(range(graph.n_nodes))
    folded = [tree.is_part(node) for node in range(graph.n_nodes)]
    for node in every:
        above = expected[node]
        while above != SUPER_ROOT and folded[above]:
            above = expected[above]
        assert tree.idom[node] == above
        if not folded[node]:
            gone = every - objects_held(graph, node)
            assert tree.retained[node] == sum(int(graph.size[i]) for i in gone)
    place = {int(node): i for i, node in enumerate(tree.order)}
    assert len(place) == graph.n_nodes
    assert all(
        tree.idom[node] == SUPER_ROOT or place[int(tree.idom[node])] < place[node]
        for node in every
    )
    assert tree.total == int(graph.size.sum())
    listed = [SUPER_ROOT, *(node for node in every if not folded[node])]
    children = {int(child) for node in listed for child in tree.children(node)}
    assert children == {node for node in every if not folded[node]}


def test_an_empty_graph_has_an_empty_tree() -> None:
    tree = HeapGraph.decode([GraphBuilder().stream()]).dominators
    assert (len(tree.idom), tree.total, list(tree.children(SUPER_ROOT))) == (0, 0, [])


def test_an_objects_dict_counts_with_it_and_its_values_hang_off_it() -> None:
    b = GraphBuilder()
    value = b.list(size=10)
    made = b.instance(
        b.type("app", "Row", [(INTERNAL, "__dict__")]), [b.named_dict({"a": value})]
    )
    b.module("app", {"ROW": made})
    graph = HeapGraph.decode([b.stream()])
    tree = graph.dominators
    places = graph.address.tolist()
    row, leaf = places.index(made.address // 8), places.index(value.address // 8)
    part = int(np.flatnonzero(graph.flags & NodeFlag.FOLDED)[0])
    assert list(tree.children(row)) == [leaf]
    assert int(tree.idom[leaf]) == row
    assert (tree.is_part(part), tree.is_part(row)) == (True, False)
    assert int(tree.retained[row]) == 48 + 232 + 10


def test_garbage_that_holds_itself_is_entered_at_the_object_not_at_its_dict() -> None:
    b = GraphBuilder()
    own = b.named_dict({})
    made = b.instance(b.type("app", "Row", [(INTERNAL, "__dict__")]), [own])
    own.refs += [b.text("me"), made]
    graph = HeapGraph.decode([b.stream()])
    tree = graph.dominators
    row = graph.address.tolist().index(made.address // 8)
    assert int(tree.idom[row]) == SUPER_ROOT
    assert int(tree.retained[row]) == 48 + 232


def test_c_and_the_reference_agree_on_a_hundred_thousand_nodes() -> None:
    n = 100_000
    chance = np.random.default_rng(7)
    child = np.arange(1, n)
    parent = child - np.minimum(chance.integers(1, 50, n - 1), child)
    source = np.concatenate([parent, chance.integers(1, n, n // 2), child[:-1]])
    target = np.concatenate([child, chance.integers(1, n, n // 2), child[1:]])
    kept = chance.random(len(source)) < 0.7
    row, targets = rows(n, source[kept], target[kept])
    stream = list_stream(row, targets, chance.integers(16, 1000, n))
    graph = HeapGraph.decode([stream])
    reference = dominators_reference.dominators(graph)
    assert (graph.dominators.idom == reference.idom).all()
    assert (graph.dominators.retained == reference.retained).all()


N_LINKS = 200_000


def lru_cache(first: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return a list whose links share their payloads with a dict, as edges.

    The side that the search enters first decides how far the last step climbs: from
    the dict one step a payload, from the list as many as there are links before it.
    """
    a_dict, head = 1, 2
    link = np.arange(head, head + N_LINKS)
    payload = link + N_LINKS
    starts = [a_dict, head] if first == "dict" else [head, a_dict]
    source = np.concatenate([[0, 0], np.full(N_LINKS, a_dict), link[:-1], link])
    target = np.concatenate([starts, payload, link[1:], payload])
    return source, target


def one_end(first: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return a list whose last link holds all of what a dict holds as well."""
    source, target = lru_cache(first)
    source[-N_LINKS:] = 1 + N_LINKS
    return source, target


@pytest.mark.parametrize("first", ["dict", "list"])
@pytest.mark.parametrize("shape", [lru_cache, one_end])
def test_a_list_that_shares_with_a_dict_takes_linear_time(shape, first) -> None:
    # 400,000 nodes; quadratic would be a minute at least. CPU time, for others may run.
    row, target = rows(2 + 2 * N_LINKS, *shape(first))
    graph = HeapGraph.decode([list_stream(row, target, np.full(len(row) - 1, 64))])
    begin = time.process_time()
    tree = graph.dominators
    assert time.process_time() - begin < LINEAR_S
    assert int((tree.retained == 64).sum()) >= N_LINKS
    assert tree.total == 64 * (2 * N_LINKS + 1)


def test_a_list_of_a_million_links_needs_no_stack() -> None:
    n = 1_000_001
    row, target = rows(n, np.arange(n - 1), np.arange(1, n))
    tree = HeapGraph.decode([list_stream(row, target, np.full(n, 8))]).dominators
    assert int(tree.retained[0]) == 8 * (n - 1)
    assert (tree.idom[1 : n - 1] == np.arange(n - 2)).all()
