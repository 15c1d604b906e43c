"""`.heapsnapshot`: what DevTools and memlab need of it, checked without them."""

import io
import json
import random
import sys
from collections import Counter
from functools import partial
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import networkx
import pytest
from heapsnapshot_reader import HeapSnapshot, Node, read
from stream_builder import GREENLET, INTERNAL, THREAD, C, GraphBuilder

sys.path.append(str(Path(__file__).parents[1] / "exports"))

import samples

from liveheap_client.analysis.graph import HeapGraph
from liveheap_client.analysis.paths import PathNodes
from liveheap_client.export import heapsnapshot
from liveheap_client.export.heapsnapshot import HeapsnapshotExporter
from liveheap_client.export.heapsnapshot_file import (
    Contents,
    Strings,
    write,
)


def exported(
    builder: GraphBuilder, path: Path, *, python: str = "3.12.1", end: bool = True
) -> HeapSnapshot:
    graph = HeapGraph.decode(
        [builder.stream(end=end)],
        header={"python": python},
        allow_truncated=not end,
    )
    HeapsnapshotExporter().write(graph, path, lambda *_: None)
    return read(path)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.heapsnapshot"


def test_the_minimal_file_is_as_the_format_has_it(out: Path):
    samples.write_minimal(out)

    written = json.loads(out.read_text())

    assert written["nodes"] == [*chain(*samples.MINIMAL_NODES)]
    assert written["edges"] == [*chain(*samples.MINIMAL_EDGES)]
    assert written["strings"] == samples.MINIMAL_STRINGS
    assert written["snapshot"]["node_count"] == 5
    assert written["snapshot"]["meta"]["node_types"][0][14] == "object shape"
    assert written["snapshot"]["meta"]["edge_types"][0] == [
        *("context", "element", "property", "internal", "hidden", "shortcut", "weak")
    ]


def test_each_kind_of_object_has_its_name_and_type(out: Path):
    b = GraphBuilder()
    code = b.code("work", "/app/tasks.py", first_line=7)
    cell = b.leaf("int", 28)
    ref = b.type("weakref", "ReferenceType", [(INTERNAL, "__referent__")], flags=4)
    row = b.type("app", "Row", node=b.leaf("type", 1000))
    kept = b.instance(row)
    b.module(
        "app",
        {
            "work": b.function(code, closure=[cell]),
            "Row": row.node,
            "text": b.leaf("str", 41 + 117),
            "raw": b.leaf("bytes", 33 + 5),
            "rows": b.list([kept]),
            "ref": b.instance(ref, [kept]),
        },
    )
    frame = b.frame(code, 9, [b.leaf("float", 24)])
    b.root(GREENLET, [("frame", frame)], number=1)

    snapshot = exported(b, out)

    def told(name: str) -> str:
        return snapshot.the(name).type

    assert told("module app") == "object"
    assert {node.type for node in snapshot.named("work() at tasks.py:7")} == {
        *("closure", "code")
    }
    assert told("class app.Row") == "object shape"
    assert told("str[117]") == told("bytes[5]") == "string"
    assert told("app.Row") == told("list") == "object"
    assert told("float") == "number"
    assert told("work() at tasks.py:9") == told("weakref.ReferenceType") == "native"
    assert told("greenlet") == told("(greenlets)") == "synthetic"


def test_references_are_told_in_the_words_of_the_format(out: Path):
    b = GraphBuilder()
    row = b.type("app", "Row", ["meta"])
    kept = b.instance(
        row, [b.dict([(b.text("size"), b.leaf("int")), (b.leaf(), b.leaf("float"))])]
    )
    ref = b.type("weakref", "ReferenceType", [(INTERNAL, "__referent__")], flags=4)
    code = b.code("work", "/app/tasks.py", ["rows"])
    b.module("app", {"rows": b.list([None, kept]), "ref": b.instance(ref, [kept])})
    b.root(GREENLET, [("frame", b.frame(code, 9, [kept]))], number=1)

    snapshot = exported(b, out)

    edges = snapshot.edges
    assert edges(snapshot.the("module app"))["rows"] == ("property", "list")
    assert edges(snapshot.the("list")) == {0: ("element", "app.Row")}
    assert edges(snapshot.the("app.Row")) == {"meta": ("property", "dict")}
    (meta,) = (target for *_, target in snapshot.the("app.Row").edges)
    values = edges(snapshot.nodes[meta])
    assert values["size"] == ("property", "int")
    assert ("element", "float") in values.values()
    assert values["key"][0] == "internal"
    referent = edges(snapshot.the("weakref.ReferenceType"))["__referent__"]
    assert referent == ("weak", "app.Row")
    frame = edges(snapshot.the("work() at tasks.py:9"))
    assert frame["rows"] == ("property", "app.Row")
    assert frame["code"][0] == "weak"


def test_a_dict_of_attributes_is_its_object(out: Path):
    b = GraphBuilder()
    row = b.type("app", "Row", [(INTERNAL, "__dict__")])
    kept = b.instance(row, [b.named_dict({"size": b.leaf("int", 28)}, 104)], 48)
    b.module("app", {"ROW": kept})

    snapshot = exported(b, out)

    assert snapshot.the("app.Row").size == 152
    assert snapshot.edges(snapshot.the("app.Row")) == {"size": ("property", "int")}


def test_an_unreachable_cycle_hangs_off_a_root_of_its_own(out: Path):
    snapshot = exported(samples.cycle(), out)

    assert [node.size for node in snapshot.named("app.Node")] == [48 + 232] * 2
    assert snapshot.edges(snapshot.the("(unreachable)"))


def test_dicts_that_are_each_others_attributes_are_both_there(out: Path):
    b = GraphBuilder()
    kind = b.type("app", "Odd", [(INTERNAL, "__dict__")])
    ring = [b.instance(kind, [None]) for _ in range(3)]
    for place, one in enumerate(ring):
        one.refs = [ring[place - 1]]

    assert len(exported(b, out).named("app.Odd")) == 3


def test_a_size_beyond_32_bits_is_clamped(out: Path):
    assert exported(samples.giant(), out).the("array.array").size == 0xFFFF_FFFF


def test_names_survive_whatever_they_are_made_of(out: Path):
    snapshot = exported(samples.names(), out)

    for name in samples.HOSTILE:
        assert len(snapshot.named(f"app.{name}")) == 1
    assert len(snapshot.named(f"app.{samples.LONG[:255]}…")) == 1


def test_a_lone_surrogate_goes_through_as_its_escape():
    strings = Strings()
    strings.number("lone \udc80")
    file = io.StringIO()

    write(file, Contents(0, 0, iter(()), iter(()), strings))

    assert file.getvalue().isascii()
    assert json.loads(file.getvalue())["strings"] == ["", "lone \udc80"]


def test_an_empty_heap_is_a_file_with_two_nodes(out: Path):
    snapshot = exported(GraphBuilder(), out)

    assert [node.name for node in snapshot.nodes] == ["", "(GC roots)"]


def test_liveheaps_own_objects_stay_out(out: Path):
    b = GraphBuilder()
    b.module("app", {"X": b.instance(b.type("app", "Shown"))})
    b.module("liveheap", {"X": b.instance(b.type("liveheap", "Own"))})
    b.root(THREAD, [("frame", b.instance(b.type("liveheap", "Busy")))], flags=2)

    names = {node.name for node in exported(b, out).nodes}

    assert "app.Shown" in names
    assert not names & {"liveheap.Own", "liveheap.Busy", "module liveheap", "liveheap"}


def test_the_file_says_that_ids_are_approximate_and_the_snapshot_truncated(out: Path):
    b = GraphBuilder()
    b.root(C, [("held", b.list())])

    whole = exported(b, out).head["liveheap"]
    cut = exported(b, out, end=False).head["liveheap"]

    assert whole["flags"] == ["approx-ids"]
    assert cut["flags"] == ["approx-ids", "truncated"]
    assert all(cut["notes"])


def test_what_is_beyond_the_cap_of_paths_is_there(
    out: Path, monkeypatch: pytest.MonkeyPatch
):
    few = SimpleNamespace(of=partial(PathNodes.of, max_nodes=1))
    monkeypatch.setattr(heapsnapshot, "PathNodes", few)
    b = GraphBuilder()
    b.module("app", {"kept": b.list([b.instance(b.type("app", "Row"))])})
    b.root(C, [("held", b.instance(b.type("app", "Held")))])

    assert {"app.Row", "app.Held"} <= {node.name for node in exported(b, out).nodes}


def cache(rows: int, *, base: int) -> GraphBuilder:
    b = GraphBuilder(base=base)
    leaky = b.type("app", "Leaky", ["payload"])
    items = [b.instance(leaky, [b.leaf("str", 50 + n % 3)]) for n in range(rows)]
    b.module("app", {"CACHE": b.list(items, 56 + 8 * rows), "OLD": b.dict()})
    return b


def by_id(nodes: list[Node]) -> dict[int, str]:
    return {node.id: node.name for node in nodes}


@pytest.mark.parametrize("together", [True, False], ids=["in one go", "one by one"])
def test_an_object_has_one_id_in_all_files_of_a_series(tmp_path: Path, together: bool):
    exporter = HeapsnapshotExporter()
    files = []
    for number, rows in enumerate([500, 2500]):
        # Other addresses: they are no identity.
        builder = cache(rows, base=0x7F0000000000 + number * 0x1000000)
        files.append(tmp_path / f"{number}.heapsnapshot")
        graph = HeapGraph.decode([builder.stream()])
        if not together:
            exporter = HeapsnapshotExporter()
        exporter.write(graph, files[-1], lambda *_: None)
    old, new = (by_id(read(file).nodes) for file in files)

    added = Counter(new[id_] for id_ in new.keys() - old.keys())
    removed = Counter(old[id_] for id_ in old.keys() - new.keys())

    assert added == {
        "app.Leaky": 2000,
        "str[9]": 667,
        "str[10]": 666,
        "str[11]": 667,
        "list": 1,
    }
    assert removed == {"list": 1}
    assert all(old[id_] == new[id_] for id_ in old.keys() & new.keys())


def retained(snapshot: HeapSnapshot) -> dict[str, int]:
    """Return {name: retained size} as any consumer computes it."""
    graph = networkx.DiGraph()
    for node in snapshot.nodes:
        graph.add_node(node.ordinal)
        for type_, _, target in node.edges:
            if type_ != "weak":
                graph.add_edge(node.ordinal, target)
    above = networkx.immediate_dominators(graph, 0)
    sums = Counter({node.name: 0 for node in snapshot.nodes})
    for node in snapshot.nodes:
        at = node.ordinal
        while at is not None:
            sums[snapshot.nodes[at].name] += node.size
            at = above.get(at) if at else None
    return dict(sums)


def forest(seed: int, objects: int = 60) -> GraphBuilder:
    """A random graph in which every object has a type, and so a name, of its own."""
    chance = random.Random(seed)
    b = GraphBuilder()
    fields = ["a", "b", "c", (INTERNAL, "__dict__")]
    made = []
    for number in range(objects):
        kind = b.type("app", f"T{number}", fields)
        made.append(b.instance(kind, size=chance.randrange(16, 5000)))
    for one in made:
        one.refs = [chance.choice([None, *made[: objects - 9]]) for _ in range(3)]
        one.refs.append(b.named_dict({"d": chance.choice(made)}))
    b.module("app", {f"X{n}": made[n] for n in range(3)})
    b.root(C, [("held", made[5])])
    return b


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("most", [None, 30, 9])
def test_a_consumer_finds_our_retained_sizes_however_much_is_folded(
    tmp_path: Path, seed: int, most: int | None
):
    graph = HeapGraph.decode([forest(seed).stream()])
    place = tmp_path / "out.heapsnapshot"
    exporter = HeapsnapshotExporter(most=most or 1000)

    written = exporter.write(graph, place, lambda *_: None)

    found = {k: v for k, v in retained(read(place)).items() if k.startswith("app.")}
    ours = {
        graph.type_name(int(graph.type[node])): int(graph.dominators.retained[node])
        for node in range(graph.n_nodes)
    }
    assert found == {name: ours[name] for name in found}
    assert len(found) == 60 if most is None else 0 < len(found) < most
    assert ("folded" in written.flags) == (most is not None)


def test_of_a_long_list_of_links_the_first_ones_stay(tmp_path: Path):
    b = GraphBuilder()
    link = b.type("app", "Link", ["next"])
    last = None
    for _ in range(5000):
        last = b.instance(link, [last])
    b.module("app", {"HEAD": last})
    graph = HeapGraph.decode([b.stream()])
    place = tmp_path / "out.heapsnapshot"

    written = HeapsnapshotExporter(most=100).write(graph, place, lambda *_: None)

    links = read(place).named("app.Link")
    assert sum(node.size for node in links) == 5000 * 48
    assert 50 < len(links) < 100
    assert written.notes[-1].startswith("4,9")
