"""Path nodes: what is merged, what is claimed first, and how a path reads."""

import os
import subprocess
import sys
from pathlib import Path

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stream_builder import (
    GREENLET,
    INTERNAL,
    INTERNED,
    THREAD,
    C,
    GraphBuilder,
    Node,
)

from liveheap_client.analysis.graph import OWNS, HeapGraph
from liveheap_client.analysis.labels import Group
from liveheap_client.analysis.paths import PathNodes


def paths_of(builder: GraphBuilder, **caps: int) -> PathNodes:
    return PathNodes.of(HeapGraph.decode([builder.stream()]), **caps)


def texts(paths: PathNodes) -> dict[str, int]:
    """Return the counts of the path nodes that have objects, by their texts."""
    found = [paths.text(i) for i in range(len(paths))]
    assert paths.texts() == found
    return {
        text: int(count)
        for text, count in zip(found, paths.count, strict=True)
        if count
    }


def index_of(paths: PathNodes, node: Node) -> int:
    return int(paths.graph.address.tolist().index(node.address // 8))


def path_of(paths: PathNodes, node: Node) -> str:
    return paths.text(int(paths.node_path[index_of(paths, node)]))


def retaining(paths: PathNodes, node: Node) -> list[str]:
    return paths.retaining_path(index_of(paths, node))


def worker(b: GraphBuilder, n: int = 5) -> list[Node]:
    """Add a module whose CACHE keeps n rows, and return the rows."""
    row = b.type("worker", "Row", ["payload"])
    rows = [b.instance(row, [b.leaf("bytes", 100)]) for _ in range(n)]
    cache = b.instance(b.type("worker", "Cache", ["rows"]), [b.list(rows)])
    b.module("worker", {"CACHE": cache})
    return rows


def test_rows_of_a_cache_are_one_path_node():
    b = GraphBuilder()
    rows = worker(b)
    paths = paths_of(b)
    assert texts(paths)["worker.CACHE.rows[*] -> worker.Row"] == 5
    assert texts(paths)["worker.CACHE.rows[*].payload -> bytes"] == 5
    assert retaining(paths, rows[3]) == [
        "module worker",
        ".CACHE -> worker.Cache",
        ".rows -> list",
        "[*] -> worker.Row",
    ]


def test_a_greenlets_local_is_named_by_function_line_and_variable():
    b = GraphBuilder()
    row = b.instance(b.type("worker", "Row"))
    frame = b.frame(b.code("sync", "/app/worker.py", ["rows"]), 41, [b.list([row])])
    b.root(GREENLET, [("frame", frame)], number=7)
    paths = paths_of(b)
    assert (
        path_of(paths, row)
        == 'greenlet -> sync() at worker.py:41 local "rows" [*] -> worker.Row'
    )
    assert retaining(paths, row) == [
        "greenlet 7 -> sync() at worker.py:41",
        'local "rows" -> list',
        "[*] -> worker.Row",
    ]


def test_greenlets_in_one_function_are_one_path_node_wherever_they_stand():
    b = GraphBuilder()
    code = b.code("sync", "/app/worker.py", ["rows"])
    for line in (41, 42, 43):
        b.root(GREENLET, [("frame", b.frame(code, line, [b.list()]))], number=line)
    assert (
        texts(paths_of(b))['greenlet -> sync() at worker.py:41 local "rows" -> list']
        == 3
    )


def test_keys_that_are_data_never_appear():
    b = GraphBuilder()
    row = b.type("worker", "Row")
    cache = b.dict((b.leaf("str", 60), b.instance(row)) for _ in range(4))
    b.module("worker", {"CACHE": cache})
    found = texts(paths_of(b))
    assert found["worker.CACHE[*] -> worker.Row"] == 4
    assert found["worker.CACHE{key} -> str"] == 4


def test_keys_that_are_program_text_name_their_values():
    b = GraphBuilder()
    b.module("worker", {"CONFIG": b.named_dict({"limits": b.list()})})
    assert texts(paths_of(b))["worker.CONFIG['limits'] -> list"] == 1


def test_an_instance_reads_the_same_with_and_without_its_dict():
    def path(*, materialised: bool) -> tuple[str, int]:
        b = GraphBuilder()
        value = b.list()
        if materialised:
            kind = b.type("worker", "P", [(INTERNAL, "__dict__")])
            made = b.instance(kind, [b.named_dict({"a": value})])
        else:
            made = b.instance(b.type("worker", "P", ["a"]), [value])
        b.module("worker", {"p": made})
        paths = paths_of(b)
        place = int(paths.node_path[index_of(paths, value)])
        return paths.text(place), int(paths.key[place])

    assert path(materialised=True) == path(materialised=False)
    assert path(materialised=True)[0] == "worker.p.a -> list"


def test_a_folded_dict_gives_its_size_to_its_owner_and_is_not_counted():
    b = GraphBuilder()
    kind = b.type("worker", "P", [(INTERNAL, "__dict__")])
    made = b.instance(kind, [b.named_dict({"a": b.list()}, size=232)], size=48)
    b.module("worker", {"p": made})
    paths = paths_of(b)
    place = int(paths.node_path[index_of(paths, made)])
    assert int(paths.bytes[place]) == 280
    assert int(paths.count[place]) == 1


def test_a_closure_is_named_by_its_variable():
    b = GraphBuilder()
    seen = b.dict()
    code = b.code("on_event", "/app/worker.py", ["event", "seen"], n_free=1)
    b.module("worker", {"handler": b.function(code, None, [seen])})
    paths = paths_of(b)
    assert path_of(paths, seen) == 'worker.handler closure "seen" -> dict'
    assert retaining(paths, seen) == [
        "module worker",
        ".handler -> function",
        'closure "seen" of on_event() at worker.py:1 -> cell',
        "holds dict",
    ]


def test_a_generator_says_where_it_stands():
    b = GraphBuilder()
    item = b.list()
    kind = b.type("builtins", "generator", flags=4)
    generator = b.frame(b.code("stream", "/app/w.py", ["batch"]), 8, [item], type_=kind)
    b.module("worker", {"jobs": b.list([generator])})
    assert (
        path_of(paths_of(b), item)
        == 'worker.jobs[*] -> generator stream() at w.py:8 local "batch" -> list'
    )


def test_a_frame_object_is_a_part_of_its_frame():
    b = GraphBuilder()
    kind = b.type("builtins", "frame", [(INTERNAL, "f_frame")], flags=4)
    made = b.instance(kind, [None])
    frame = b.frame(b.code("work", "/app/w.py"), 3, attributes=[made])
    made.refs = [frame]
    b.root(GREENLET, [("frame", frame)])
    paths = paths_of(b)
    assert path_of(paths, made) == "greenlet -> work() at w.py:3"
    assert texts(paths)["greenlet -> work() at w.py:3"] == 1


def test_references_without_a_name_say_what_they_are():
    b = GraphBuilder()
    waiting, temporary = b.list(), b.list()
    event = b.instance(b.type("gevent.event", "Event"), [waiting])
    b.module("worker", {"DONE": event})
    code = b.code("work", "/app/w.py")
    frame = b.frame(code, 3, attributes=[None, None, None, temporary])
    b.root(GREENLET, [("frame", frame)])
    paths = paths_of(b)
    assert path_of(paths, waiting) == "worker.DONE.<C field> -> list"
    assert path_of(paths, temporary) == "greenlet -> work() at w.py:3 stack -> list"


def test_a_module_without_a_name_is_named_by_its_types():
    b = GraphBuilder()
    kind = b.type("builtins", "type", flags=64)
    known, row, cache = (b.instance(kind) for _ in range(3))
    b.type("lib", "Known", node=known)
    b.type("__main__", "Row", node=row)
    b.type("__main__", "Cache", node=cache)
    b.module("lib", {"Known": known})
    b.module("nameless", {"Known": known, "Row": row, "Cache": cache})
    key = b.sys_modules().refs[2]
    assert key is not None
    key.text = None
    assert path_of(paths_of(b), row) == "__main__.Row -> type"


def test_a_list_of_200000_links_is_one_path_node():
    b = GraphBuilder()
    link = b.type("worker", "Link", ["next"])
    links = [b.instance(link, [None])]
    for _ in range(199_999):
        links.append(b.instance(link, [links[-1]]))
    b.module("worker", {"HEAD": links[-1]})
    paths = paths_of(b)
    found = texts(paths)
    assert found["worker.HEAD.next -> worker.Link"] == 199_999
    assert found["worker.HEAD -> worker.Link"] == 1
    assert not paths.truncated


def test_a_tree_of_lists_and_nodes_is_folded_through_its_lists():
    b = GraphBuilder()
    kind = b.type("worker", "Tree", ["children"])
    level = [b.instance(kind, [b.list()]) for _ in range(8)]
    for _ in range(3):
        level = [
            b.instance(kind, [b.list(level[i : i + 2])])
            for i in range(0, len(level), 2)
        ]
    b.module("worker", {"ROOT": level[0]})
    found = texts(paths_of(b))
    assert found["worker.ROOT.children[*] -> worker.Tree"] == 14
    assert found["worker.ROOT.children -> list"] == 15


def test_the_modules_path_is_preferred_to_a_shorter_one_through_a_frame():
    b = GraphBuilder()
    (row,) = worker(b, 1)
    frame = b.frame(b.code("main", "/app/worker.py", ["row"]), 3, [row])
    b.root(THREAD, [("frame", frame)], flags=1)
    assert path_of(paths_of(b), row) == "worker.CACHE.rows[*] -> worker.Row"


def test_an_applications_frame_is_preferred_to_a_librarys_module():
    b = GraphBuilder()
    shared = b.list()
    library = b.module("lib", {"STATE": shared})
    code = b.code("helper", "/venv/lib/python3.12/site-packages/lib.py")
    assert library.refs[0] is not None
    library.refs[0].refs += [b.text("helper"), b.function(code, library.refs[0])]
    frame = b.frame(b.code("main", "/app/worker.py", ["state"]), 3, [shared])
    b.root(THREAD, [("frame", frame)], flags=1)
    assert path_of(paths_of(b), shared).startswith("main thread -> main()")


def test_a_librarys_module_is_preferred_to_a_librarys_frame():
    b = GraphBuilder()
    shared = b.list()
    b.module("threading", {"_active": shared})
    frame = b.frame(
        b.code("_bootstrap", "/usr/lib/python3.12/threading.py", ["self"]), 3, [shared]
    )
    b.root(THREAD, [("frame", frame)])
    assert path_of(paths_of(b), shared) == "threading._active -> list"


def test_named_edges_claim_before_unnamed_ones_of_the_same_level():
    b = GraphBuilder()
    shared = b.leaf("bytes", 60)
    by_index = b.list([shared])
    by_name = b.instance(b.type("worker", "Box", ["content"]), [shared])
    b.module("worker", {"LIST": by_index, "BOX": by_name})
    assert path_of(paths_of(b), shared) == "worker.BOX.content -> bytes"


def test_what_only_liveheap_holds_is_hidden():
    b = GraphBuilder()
    ours, shared = b.list(), b.list()
    b.module("liveheap.agent", {"state": ours, "seen": shared})
    b.module("worker", {"seen": shared})
    b.root(THREAD, [("dict", b.dict())], name="liveheap", flags=2)
    paths = paths_of(b)
    assert paths.hidden[paths.node_path[index_of(paths, ours)]]
    assert path_of(paths, shared) == "worker.seen -> list"
    own = paths.own_objects()
    assert own is not None
    assert own.sum() == 4  # the module, its dict, the list, the thread's dict


def test_nothing_is_dropped_that_no_root_reaches():
    b = GraphBuilder()
    held_by_c = b.list([b.leaf("bytes", 99)])
    held_by_c.refcount = 3
    left, right = b.list(), b.list()
    left.refs, right.refs = [right], [left]
    b.leaf("str", 50, refcount=0)
    kind = b.type("builtins", "type", flags=64)
    b.instance(kind)
    found = texts(paths_of(b))
    assert found["C roots -> list"] == 1
    assert found["C roots -> list[*] -> bytes"] == 1
    assert found["unreachable -> list"] == 2 or found["unreachable -> list[*] -> list"]
    assert found["interned -> str"] == 1
    assert found["type system -> type"] == 1


def test_an_interned_string_is_interned_whatever_in_c_refers_to_it():
    b = GraphBuilder()
    text = b.leaf("str", 50)
    b.root(C, [("type_cache", text)])
    b.root(INTERNED, [("", text)])
    assert path_of(paths_of(b), text) == "interned -> str"


def test_interned_strings_and_c_references_are_groups_of_their_own():
    b = GraphBuilder()
    b.root(INTERNED, [("", b.leaf("str", 50))])
    b.root(C, [("type_cache", b.leaf("str", 50))])
    found = texts(paths_of(b))
    assert found["interned -> str"] == 1
    assert found["C.type_cache -> str"] == 1


def chain(length: int) -> GraphBuilder:
    b = GraphBuilder()
    node = b.list()
    for i in range(length):
        node = b.instance(b.type("worker", f"T{i}", [f"a{i}"]), [node])
    b.module("worker", {"top": node})
    return b


def test_beyond_the_depth_cap_objects_join_deep_and_the_result_says_so():
    paths = paths_of(chain(60))
    assert paths.truncated
    deep = {t: n for t, n in texts(paths).items() if t.endswith("(deep)")}
    assert list(deep.values()) == [61 - 40]
    assert not paths_of(chain(30)).truncated


def test_beyond_the_cap_of_nodes_objects_are_still_counted():
    b = chain(30)
    paths = paths_of(b, max_nodes=10 + 8)
    assert paths.truncated
    assert int(paths.count.sum()) == int(paths_of(b).count.sum())


def test_container_lengths_are_summed_and_the_longest_is_known():
    b = GraphBuilder()
    lists = b.tuple([b.list([b.leaf()] * n) for n in (2, 5, 3)])
    b.module("worker", {"LISTS": lists})
    paths = paths_of(b)
    place = [t for t in range(len(paths)) if paths.length[t] == 10]
    assert len(place) == 1
    assert int(paths.max_length[place[0]]) == 5


def test_modules_without_a_name_are_told_apart_by_their_file():
    b = GraphBuilder()
    for file in ("one.py", "two.py"):
        module = b.module("unused", {})
        function = b.function(b.code("f", f"/app/{file}"), module.refs[0])
        assert module.refs[0] is not None
        module.refs[0].refs += [b.text("f"), function]
    for key in b.sys_modules().refs[::2]:
        assert key is not None
        key.text = None
    groups = {text.split(".")[0] for text in texts(paths_of(b)) if "py" in text}
    assert groups == {"one", "two"}


@st.composite
def graphs(draw: st.DrawFn) -> tuple[GraphBuilder, list[Node], list[Node]]:
    """Draw a graph of lists, some of them globals of a module."""
    b = GraphBuilder()
    nodes = [b.list() for _ in range(draw(st.integers(1, 12)))]
    for node in nodes:
        node.refs = list(draw(st.lists(st.sampled_from(nodes), max_size=4)))
    roots = draw(st.lists(st.sampled_from(nodes), unique_by=id, max_size=3))
    b.module("worker", {f"g{i}": root for i, root in enumerate(roots)})
    return b, nodes, roots


@settings(max_examples=100, deadline=None)
@given(graphs())
def test_retaining_paths_are_shortest_paths_over_owning_edges(drawn):
    b, nodes, _ = drawn
    graph = HeapGraph.decode([b.stream()])
    paths = PathNodes.of(graph)
    oracle = networkx.DiGraph()
    oracle.add_nodes_from(range(graph.n_nodes))
    for edge in np.flatnonzero(graph.edge_kind & OWNS):
        oracle.add_edge(graph.source(int(edge)), int(graph.target[edge]))
    module = graph.modules[0].node
    distance = networkx.single_source_shortest_path_length(oracle, module)
    for node in nodes:
        index = index_of(paths, node)
        steps, at = 0, index
        while paths.parent_edge[at] != 0xFFFF_FFFF:
            assert graph.edge_kind[paths.parent_edge[at]] & OWNS
            at = graph.source(int(paths.parent_edge[at]))
            steps += 1
        kind = paths.label_kind[paths.group[paths.node_path[index]]]
        if index in distance:
            assert (at, steps) == (module, distance[index])
            assert kind == Group.MODULE
        else:
            assert kind in (Group.UNEXPLAINED, Group.UNREACHABLE)


@settings(max_examples=100, deadline=None)
@given(graphs())
def test_every_object_is_claimed_exactly_once(drawn):
    b, _, _ = drawn
    graph = HeapGraph.decode([b.stream()])
    paths = PathNodes.of(graph)
    folded = int(((graph.flags & 64) != 0).sum())
    assert int(paths.count.sum()) == graph.facts["nodes"] - folded
    assert int(paths.bytes.sum()) == graph.facts["bytes"]
    assert (paths.parent < np.arange(len(paths))).all()


@pytest.mark.parametrize("seed", ["0", "1"])
def test_keys_and_texts_do_not_depend_on_the_hash_seed(seed: str):
    golden = Path(__file__).parents[1] / "data" / "golden-1.0.liveheap"
    program = (
        "import sys\n"
        "from liveheap_client.analysis.graph import HeapGraph\n"
        "from liveheap_client.analysis.paths import PathNodes\n"
        f"p = PathNodes.of(HeapGraph.load({str(golden)!r}))\n"
        "for i in range(len(p)): print(p.key[i], p.count[i], p.text(i))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": seed, "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    paths = PathNodes.of(HeapGraph.load(golden))
    expected = [
        f"{paths.key[i]} {paths.count[i]} {paths.text(i)}" for i in range(len(paths))
    ]
    assert run.stdout.splitlines() == expected


def test_where_an_object_lies_does_not_change_its_path():
    def found(base: int, step: int) -> list[tuple[int, int]]:
        b = GraphBuilder(base=base, step=step)
        worker(b)
        paths = paths_of(b)
        return [(int(k), int(n)) for k, n in zip(paths.key, paths.count, strict=True)]

    assert found(0x7F0000000000, 48) == found(0x555500000000, 4096)
