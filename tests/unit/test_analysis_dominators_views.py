"""What people are shown of dominators: trees, names, paths, objects, containers."""

import itertools
import sys

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from stream_builder import GREENLET, INTERNAL, THREAD, C, GraphBuilder, Node

from liveheap.errors import CommandError
from liveheap_client.analysis import (
    accumulation,
    containers,
    dominatortree,
    inspection,
    retaining,
    toplevel,
)
from liveheap_client.analysis.dominators import SUPER_ROOT, Dominators
from liveheap_client.analysis.filters import Filter
from liveheap_client.analysis.graph import HeapGraph
from liveheap_client.analysis.paths import PathNodes
from liveheap_client.render import retained
from liveheap_client.render.table import Look

ALL = Filter()
PIPE = Look(human=False, width=None)


def decoded(builder: GraphBuilder) -> HeapGraph:
    return HeapGraph.decode([builder.stream()])


def tree_of(idom: list[int], sizes: list[int]) -> Dominators:
    """Return a tree whose nodes come after their immediate dominators."""
    total = list(sizes)
    for node in range(len(idom) - 1, -1, -1):
        if idom[node] >= 0:
            total[idom[node]] += total[node]
    return Dominators(
        np.array(idom, np.int32),
        np.array(total, np.uint64),
        np.arange(len(idom), dtype=np.int32),
        np.zeros(len(idom), np.uint16),
    )


def worker(b: GraphBuilder, n: int = 5) -> tuple[Node, list[Node]]:
    """Add a module whose CACHE keeps n rows."""
    row = b.type("worker", "Row", ["payload"])
    rows = [b.instance(row, [b.leaf("bytes", 100)]) for _ in range(n)]
    cache = b.instance(b.type("worker", "Cache", ["rows"]), [b.list(rows)])
    b.module("worker", {"CACHE": cache})
    return cache, rows


# -- sets and accumulation points -----------------------------------------------


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=30))
def test_a_set_retains_what_its_topmost_members_do(
    nodes: list[tuple[int, bool]],
) -> None:
    idom = [min(above, i) - 1 for i, (above, _) in enumerate(nodes)]
    members = np.array([chosen for _, chosen in nodes], np.bool_)
    tree = tree_of(idom, [2**i for i in range(len(nodes))])
    expected = 0
    for i in range(len(nodes)):
        inside, node = False, i
        while node >= 0:
            inside |= bool(members[node])
            node = idom[node]
        expected += 2**i if inside else 0
    assert tree.retained[accumulation.topmost(tree, members)].sum() == expected


@pytest.mark.parametrize("every", [1, 500])
def test_of_a_long_list_the_first_member_is_the_topmost(every: int) -> None:
    n = 2000
    tree = tree_of(list(range(-1, n - 1)), [1] * n)
    members = np.arange(n) % every == every - 1
    assert accumulation.topmost(tree, members).tolist() == [every - 1]


def test_memory_gathers_in_the_list_of_many() -> None:
    # root 1000 > module 990 > dict 980 > list 950 > 950 children of 1
    tree = tree_of([-1, 0, 1, 2, *[3] * 950], [10, 10, 30, 0, *[1] * 950])
    assert accumulation.accumulation_point(tree, 0) == 3


def test_memory_gathers_where_no_child_has_most_of_it() -> None:
    tree = tree_of([-1, 0, 0], [10, 600, 390])
    assert accumulation.accumulation_point(tree, 0) == 0


def test_candidates_retain_a_tenth_alone_or_with_their_kind() -> None:
    tree = tree_of([-1] * 10, [500, *[60] * 2, *[30] * 2, *[64] * 5])
    kinds = np.array([1, 2, 2, 3, 3, 4, 4, 4, 4, 4], np.uint32)
    single, groups = accumulation.candidates(tree, kinds)
    assert single == [0]
    assert [sorted(group.tolist()) for group in groups] == [[1, 2], [5, 6, 7, 8, 9]]


# -- the tree -------------------------------------------------------------------


def tree_text(graph: HeapGraph, kept: Filter = ALL, **bounds: int) -> list[str]:
    bounds = {"depth": 10, "width": 10, **bounds}
    paths = PathNodes.of(graph)
    tree = dominatortree.tree(paths, kept, **bounds)
    points = dominatortree.accumulation_points(paths)
    found = {
        "tree": tree.to_json(),
        "accumulation_points": [point.to_json() for point in points],
    }
    return list(retained.tree_lines(found, look=PIPE))


def test_the_tree_has_one_line_for_what_is_held_alike() -> None:
    b = GraphBuilder()
    worker(b)
    lines = tree_text(decoded(b), Filter(min_size=100))
    shown = [line.partition("%  ")[2] for line in lines]
    assert "├─ module worker" in shown or "└─ module worker" in shown
    assert [line.split("─ ", 1)[1] for line in shown if "─ " in line][:5] == [
        "module worker",
        ".CACHE -> worker.Cache",
        ".rows -> list",
        "[*] -> worker.Row  x5",
        ".payload -> bytes  x5",
    ]
    assert "memory gathers in  worker.CACHE.rows -> list" in lines
    row = next(line for line in lines if "worker.Row" in line)
    assert row.split()[0] == str(5 * 148)


def test_width_and_depth_bound_the_tree_and_the_rest_is_told() -> None:
    b = GraphBuilder()
    b.module("app", {f"name{i}": b.list(size=1000 - i) for i in range(9)})
    tree = dominatortree.tree(
        PathNodes.of(decoded(b)), Filter(min_size=0), depth=2, width=3
    )
    module = next(child for child in tree.children if child.label == "module app")
    assert [child.retained for child in module.children] == [1000, 999, 998]
    assert (module.more, module.more_bytes) == (6, sum(range(992, 998)))
    assert all(not child.children for child in module.children)


def test_the_tree_of_a_type_begins_at_its_topmost_objects() -> None:
    b = GraphBuilder()
    row = b.type("app", "Row", ["next"])
    inner = b.instance(row, [b.leaf(size=10)])
    b.module("app", {"FIRST": b.instance(row, [inner])})
    tree = dominatortree.tree(
        PathNodes.of(decoded(b)), Filter(type="app.*"), depth=3, width=5
    )
    assert (tree.count, tree.retained) == (1, 48 + 48 + 10)
    assert [child.label for child in tree.children] == ["app.FIRST -> app.Row"]


def test_what_two_share_hangs_below_neither_and_says_so() -> None:
    b = GraphBuilder()
    shared = b.list(size=5000)
    holder = b.type("app", "Holder", ["one"])
    pair = [b.instance(holder, [shared]), b.instance(holder, [shared])]
    b.module("app", {"PAIR": b.list(pair)})
    lines = tree_text(decoded(b))
    assert any("shared -> list" in line for line in lines)


def test_an_empty_heap_has_a_tree_and_no_names() -> None:
    graph = decoded(GraphBuilder())
    assert tree_text(graph) == [f"{0:>10} 100.0 %  heap"]
    assert toplevel.holders(graph, ALL) == []
    assert containers.containers(graph, ALL) == []


HOSTILE = "\x1b[2J<script>\u202e\n"


def test_names_made_to_speak_to_a_terminal_do_not() -> None:
    b = GraphBuilder()
    evil = b.instance(b.type(HOSTILE, HOSTILE, [HOSTILE]), [b.list(size=9000)], 9000)
    b.module(HOSTILE, {HOSTILE: evil})
    graph = decoded(b)
    node = graph.address.tolist().index(evil.address // 8)
    found = inspection.inspect(graph, node, ALL, limit=5).to_json()
    paths = retaining.of_object(graph, node, most=5).to_json()
    lines = [
        *tree_text(graph),
        *retained.object_lines(found, look=PIPE),
        *retained.path_lines(paths, look=PIPE),
    ]
    assert all(line.isprintable() for line in lines)


# -- names ----------------------------------------------------------------------


def test_globals_class_attributes_and_variables_are_ranked() -> None:
    b = GraphBuilder()
    worker(b)
    kind = b.type("builtins", "type", [(INTERNAL, "__dict__")], flags=4 | 64)
    registry = b.dict(size=700)
    made = b.instance(kind, [b.named_dict({"registry": registry})], 1000)
    b.type("shop", "Cart", node=made)
    b.module("shop", {"Cart": made})
    code = b.code("sync", "/app/worker.py", ["rows"])
    for number in range(3):
        frame = b.frame(code, 41, [b.list(size=300)])
        b.root(GREENLET, [("frame", frame)], number=number)
    rows = toplevel.holders(decoded(b), ALL)
    assert [(row.path, row.count, row.retained) for row in rows] == [
        ('greenlet -> sync() at worker.py:41 local "rows"', 3, 900),
        ("worker.CACHE", 1, 48 + 88 + 5 * 148),
        ("shop.Cart.registry", 1, 700),
    ]


def test_names_are_filtered_by_type_and_size() -> None:
    b = GraphBuilder()
    b.module("app", {"A": b.list(size=500), "B": b.dict(size=400), "C": b.list()})
    graph = decoded(b)
    chosen = toplevel.holders(graph, Filter(type="list", min_size=100))
    assert [row.path for row in chosen] == ["app.A"]


def test_a_filter_that_nothing_matches_names_what_comes_close() -> None:
    b = GraphBuilder()
    worker(b)
    with pytest.raises(CommandError) as caught:
        toplevel.holders(decoded(b), Filter(type="Rwo"))
    assert caught.value.code == "no-such-type"
    assert "worker.Row" in str(caught.value.hint)


# -- paths ----------------------------------------------------------------------


def steps(found: retaining.Retention) -> list[tuple[str, ...]]:
    return [path.steps for path in found.paths]


def test_an_object_that_several_hold_has_several_paths_the_best_first() -> None:
    b = GraphBuilder()
    row = b.instance(b.type("app", "Row"))
    b.module("app", {"FIRST": b.list([row]), "SECOND": b.list([row])})
    frame = b.frame(b.code("sync", "/app/app.py", ["mine"]), 7, [row])
    b.root(THREAD, [("frame", frame)], name="worker", number=1)
    graph = decoded(b)
    node = inspection.node_at(graph, row.address)
    found = retaining.of_object(graph, node, most=5)
    assert steps(found) == [
        ("module app", ".FIRST -> list", "[*] -> app.Row"),
        ("module app", ".SECOND -> list", "[*] -> app.Row"),
        ('thread "worker" -> sync() at app.py:7', 'local "mine" -> app.Row'),
    ]
    assert found.more == 0
    assert retaining.of_object(graph, node, most=2).more == 1


def test_paths_differ_further_up_if_only_one_object_refers_to_it() -> None:
    b = GraphBuilder()
    payload = b.leaf("bytes", 100)
    row = b.instance(b.type("app", "Row", ["payload"]), [payload])
    b.module("app", {"A": b.list([row]), "B": b.list([row])})
    graph = decoded(b)
    found = retaining.of_object(
        graph, inspection.node_at(graph, payload.address), most=5
    )
    assert [path[1] for path in steps(found)] == [".A -> list", ".B -> list"]
    assert all(path[-1] == ".payload -> bytes" for path in steps(found))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=40))
def test_every_path_is_a_way_through_the_graph_and_no_two_are_equal(
    refs: list[tuple[int, int]],
) -> None:
    b = GraphBuilder()
    kinds = [b.type("app", f"T{i}") for i in range(10)]
    lists = [b.node(1, kinds[i], 50) for i in range(10)]
    for source, target in refs:
        lists[source].refs.append(lists[target])
    b.module("app", {"A": lists[0], "B": lists[1]})
    graph = decoded(b)
    ways = networkx.DiGraph([*refs, ("A", 0), ("B", 1)])
    for node in range(2, 10):
        if node not in ways or not networkx.has_path(ways, "A", node):
            continue
        found = retaining.of_object(
            graph, inspection.node_at(graph, lists[node].address), most=5
        )
        assert len(set(steps(found))) == len(found.paths)
        for path in steps(found):
            if path[0] != "module app":
                continue
            types = [int(step.rpartition("app.T")[2]) for step in path[1:]]
            assert types[-1] == node
            assert all(ways.has_edge(a, z) for a, z in itertools.pairwise(types))
            assert len(set(types)) == len(types)


def test_the_paths_of_a_type_are_those_that_hold_most_of_it() -> None:
    b = GraphBuilder()
    row = b.type("app", "Row")
    many, few = ([b.instance(row) for _ in range(n)] for n in (7, 2))
    b.module("app", {"FEW": b.list(few), "MANY": b.list(many)})
    found = retaining.of_type(decoded(b), "Row", ALL, most=1)
    assert steps(found) == [("module app", ".MANY -> list", "[*] -> app.Row")]
    assert (found.count, found.paths[0].count, found.more) == (9, 7, 1)
    assert (found.retained, found.paths[0].retained) == (9 * 48, 7 * 48)


def test_an_orphan_is_told_with_the_references_too_many() -> None:
    b = GraphBuilder()
    held = b.leaf("bytes", 50)
    orphan = b.list([held])
    orphan.refcount = 3
    b.module("app", {})
    graph = decoded(b)
    found = retaining.of_object(graph, inspection.node_at(graph, held.address), most=5)
    assert [path.excess for path in found.paths] == [3]
    lines = list(retained.path_lines(found.to_json(), look=PIPE))
    assert "orphan   3 references that no object explains: C code holds it" in lines


def test_a_list_of_many_links_has_paths_in_no_time() -> None:
    b = GraphBuilder()
    link = b.type("app", "Link", ["next"])
    nodes = [b.instance(link, [None]) for _ in range(20_000)]
    for one, other in itertools.pairwise(nodes):
        one.refs[0] = other
    b.module("app", {"HEAD": nodes[0], "LAST": b.list([nodes[-1]])})
    graph = decoded(b)
    node = inspection.node_at(graph, nodes[-1].address)
    found = retaining.of_object(graph, node, most=5)
    assert len(found.paths) == 2


# -- one object -----------------------------------------------------------------


def test_an_object_shows_who_refers_to_it_and_what_it_refers_to() -> None:
    b = GraphBuilder()
    cache, rows = worker(b, 3)
    graph = decoded(b)
    node = inspection.node_at(graph, rows[0].address)
    found = inspection.inspect(graph, node, ALL, limit=10)
    assert (found.type, found.size, found.retained) == ("worker.Row", 48, 148)
    assert (found.refcount, found.known_referrers, found.excess) == (1, 1, 0)
    assert [(r.name, r.object) for r in found.referrers] == [("[*]", "list")]
    assert [(r.name, r.object) for r in found.referents] == [(".payload", "bytes")]
    holder = inspection.inspect(
        graph, inspection.node_at(graph, cache.address), ALL, limit=10
    )
    assert [(r.name, r.object) for r in holder.referrers] == [
        (".CACHE", "module worker")
    ]


@pytest.mark.parametrize("address", [0, 1, 0x7F0000000001, 1 << 70])
def test_an_address_where_nothing_begins_says_whose_addresses_count(
    address: int,
) -> None:
    b = GraphBuilder()
    worker(b)
    with pytest.raises(CommandError) as caught:
        inspection.node_at(decoded(b), address)
    assert "the file it was printed from" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("word", "number"),
    [("0x7f10", 0x7F10), ("4711", 4711), ("Row", None), ("-8", None), ("0xzz", None)],
)
def test_addresses_are_read_as_python_writes_them(
    word: str, number: int | None
) -> None:
    assert inspection.parse_address(word) == number


# -- containers -----------------------------------------------------------------


def rooms(graph: HeapGraph) -> list[int]:
    rooms: NDArray[np.int64] = containers.capacities(graph)
    return rooms[graph.size > 0].tolist()


def test_the_room_of_a_container_follows_from_its_size() -> None:
    # Of this interpreter's own: whatever a container has room for, it holds at least
    # what is in it, and one more item than its room makes it larger.
    b = GraphBuilder()
    numbers = range(3000)
    for n in (0, 1, 5, 8, 100, 3000):
        b.list(size=sys.getsizeof([None] * n))
        b.node(4, b.builtin("set"), sys.getsizeof(set(numbers[:n])), form=3)
        b.dict(size=sys.getsizeof({i: i for i in numbers[:n]}))
        b.dict(size=sys.getsizeof({str(i): i for i in numbers[:n]}))
    graph = HeapGraph.decode([b.stream()], header={"python": sys.version.split()[0]})
    found = rooms(graph)
    for place, n in enumerate((0, 1, 5, 8, 100, 3000)):
        a_list, a_set, a_dict, names = found[4 * place : 4 * place + 4]
        assert a_list == n
        assert a_set >= n
        assert n <= a_dict <= max(5, 4 * n)
        assert names in (a_dict, 0) or n <= names <= 4 * n


def test_containers_are_ranked_by_their_room_and_show_their_fill() -> None:
    b = GraphBuilder()
    full = b.list([b.leaf() for _ in range(8)], size=56 + 8 * 8)
    emptied = b.list([b.leaf()], size=56 + 8 * 1000)
    b.module("app", {"FULL": full, "EMPTIED": emptied})
    rows = containers.containers(decoded(b), Filter(type="list"))
    assert [(row.path, row.length, row.fill) for row in rows] == [
        ("app.EMPTIED", 1, 0.1),
        ("app.FULL", 8, 100.0),
    ]


def test_the_fastest_growing_containers_come_first_by_path() -> None:
    def round_of(n: int) -> list[containers.ContainerPath]:
        b = GraphBuilder(base=0x7F0000000000 + n * 4096)
        b.module(
            "app",
            {
                "FAST": b.list([b.leaf() for _ in range(10 * n)]),
                "SLOW": b.list([b.leaf() for _ in range(n)]),
                "STILL": b.list([b.leaf() for _ in range(50)]),
            },
        )
        return containers.containers(decoded(b), ALL)

    rows = containers.growing([round_of(n) for n in (1, 2, 3, 4)])
    assert [(row.path, row.lengths, row.per_round) for row in rows] == [
        ("app.FAST", (10, 20, 30, 40), 10),
        ("app.SLOW", (1, 2, 3, 4), 1),
    ]


def test_the_super_root_has_the_modules_and_roots_below_it() -> None:
    b = GraphBuilder()
    worker(b)
    b.root(C, [("held", b.list())])
    tree = decoded(b).dominators
    assert len(tree.children(SUPER_ROOT)) >= 3
