"""The C decoder: the columns it makes, and what it refuses."""

import itertools
import re
from pathlib import Path

import pytest
from stream_builder import (
    COMPOUND,
    END,
    FRAME,
    GREENLET,
    ITEMS,
    LEAF,
    META,
    PAIRS,
    ROOT,
    SLOT,
    STRING,
    TEXT,
    TYPE,
    C,
    GraphBuilder,
    Node,
    varint,
    zigzag,
)

from liveheap.errors import CorruptSnapshot, TruncatedSnapshot
from liveheap_client import _graph
from liveheap_client.analysis.graph import EdgeKind, HeapGraph, NodeFlag
from liveheap_client.analysis.graph import Node as Flyweight
from liveheap_client.analysis.labels import Label

CSRC = Path(__file__).parents[2] / "client/liveheap_client/analysis/csrc"


def decode(builder: GraphBuilder) -> HeapGraph:
    return HeapGraph.decode([builder.stream()])


def node_of(graph: HeapGraph, node: Node) -> Flyweight:
    index = graph.address.tolist().index(node.address // 8)
    return Flyweight(graph, index)


def edges(graph: HeapGraph, node: Node) -> list[tuple[str, str, int]]:
    return [
        (edge.kind.name, edge.name, edge.target.address)
        for edge in node_of(graph, node).iter_edges()
    ]


def small() -> GraphBuilder:
    builder = GraphBuilder()
    row = builder.type("worker", "Row", ["payload", (SLOT, "next")])
    builder.module("worker", {"ROWS": builder.list([builder.instance(row)])})
    return builder


def test_type_size_and_refcount_are_those_of_the_record():
    b = GraphBuilder()
    kept = b.leaf("bytes", 133, refcount=7)
    immortal = b.leaf("int", 28, refcount=0)
    huge = b.leaf("object", 16, refcount=2**40)
    graph = decode(b)
    assert (node_of(graph, kept).type.name, node_of(graph, kept).size) == ("bytes", 133)
    assert node_of(graph, kept).refcount == 7
    assert node_of(graph, immortal).refcount == 0
    assert node_of(graph, huge).refcount == 2**32 - 1


def test_items_and_absent_refs_keep_their_order():
    b = GraphBuilder()
    one, two = b.leaf(), b.leaf()
    holder = b.list([two, None, one, one])
    assert [target for _, _, target in edges(decode(b), holder)] == [
        two.address,
        one.address,
        one.address,
    ]


def test_fields_have_the_kinds_and_names_of_their_type():
    b = GraphBuilder()
    row = b.type("worker", "Row", ["payload", (SLOT, "next"), (3, "__weakref__")])
    x = b.leaf()
    made = b.instance(row, [x, x, x, x])
    assert [(kind, name) for kind, name, _ in edges(decode(b), made)] == [
        ("ATTRIBUTE", "payload"),
        ("SLOT", "next"),
        ("INTERNAL", "__weakref__"),
        ("UNNAMED", ""),
    ]


def test_a_value_is_named_after_its_key_only_if_that_is_program_text():
    b = GraphBuilder()
    value = b.leaf("int", 28)
    held = b.dict([(b.text("name"), value), (b.leaf(), value), (None, value)])
    assert [(k, n) for k, n, _ in edges(decode(b), held)] == [
        ("KEY", ""),
        ("VALUE", "name"),
        ("KEY", ""),
        ("VALUE", ""),
        ("ITEM", ""),
    ]


def test_a_text_may_come_after_its_use():
    b = GraphBuilder()
    key = b.leaf("str", 53)
    held = b.dict([(key, b.leaf("int", 28))])
    stream = bytearray(b.stream(end=False))
    stream += varint(STRING << 3 | META) + zigzag(key.address // 8)
    stream += varint(4) + b"late" + varint(END << 3 | META)
    stream += varint(3) + varint(2) + varint(53 + 28 + 232)
    graph = HeapGraph.decode([bytes(stream)])
    assert edges(graph, held)[1][:2] == ("VALUE", "late")


def test_a_dropped_key_takes_the_name_of_its_value_with_it():
    b = GraphBuilder()
    lost = b.leaf("str", 53, text="lost")
    held = b.dict([(b.text("kept"), b.leaf()), (lost, b.leaf("int", 28))])
    b.nodes.remove(lost)
    graph = decode(b)
    assert graph.facts["unknown_targets"] == 1
    assert [(k, n) for k, n, _ in edges(graph, held)] == [
        ("KEY", ""),
        ("VALUE", "kept"),
        ("ITEM", ""),
    ]


def test_locals_are_named_by_the_code_of_their_frame():
    b = GraphBuilder()
    x, y = b.leaf(), b.leaf()
    code = b.code("work", "/app/w.py", ["first", "second", "third"])
    frame = b.frame(code, 12, [x, None, y], borrowed=[(1, x)])
    b.root(GREENLET, [("frame", frame)])
    graph = decode(b)
    assert edges(graph, frame) == [
        ("CODE", "", code.address),
        ("LOCAL", "first", x.address),
        ("LOCAL", "third", y.address),
        ("BORROWED", "second", x.address),
    ]
    index = node_of(graph, frame).index
    assert graph.frames[index].text() == "work() at w.py:12"


def test_cells_are_named_by_the_free_variables_of_the_function():
    b = GraphBuilder()
    code = b.code("inner", "/app/w.py", ["argument", "seen", "limit"], n_free=2)
    function = b.function(code, None, [b.list(), b.leaf("int", 28)])
    graph = decode(b)
    closure = function.refs[2]
    assert closure is not None
    assert [(k, n) for k, n, _ in edges(graph, closure)] == [
        ("CELL", "seen"),
        ("CELL", "limit"),
    ]


def test_compound_records_have_elements_and_attributes():
    b = GraphBuilder()
    kind = b.type("worker", "Stack", ["limit"])
    x, y = b.leaf(), b.leaf()
    made = b.node(COMPOUND, kind, 64, form=1, refs=[x], attributes=[y])
    pairs = b.node(COMPOUND, kind, 64, form=2, refs=[x, y], attributes=[y])
    graph = decode(b)
    assert [(k, n) for k, n, _ in edges(graph, made)] == [
        ("ITEM", ""),
        ("ATTRIBUTE", "limit"),
    ]
    assert [k for k, _, _ in edges(graph, pairs)] == ["KEY", "VALUE", "ATTRIBUTE"]


def test_types_of_one_name_are_one_class():
    b = GraphBuilder()
    first = b.type("worker", "Made")
    second = b.type("worker", "Made", again=True)
    one, two = b.instance(first), b.instance(second)
    graph = decode(b)
    classes = graph.class_of_type[graph.type]
    assert classes[node_of(graph, one).index] == classes[node_of(graph, two).index]


def test_any_cut_of_the_stream_gives_the_same_graph():
    stream = small().stream()
    whole = HeapGraph.decode([stream])
    for step in (1, 2, 3, 7):
        pieces = [stream[i : i + step] for i in range(0, len(stream), step)]
        cut = HeapGraph.decode(pieces)
        for column in ("address", "type", "size", "row", "target", "edge_kind"):
            assert (getattr(cut, column) == getattr(whole, column)).all()


def test_a_stream_without_end_is_truncated_and_readable_if_allowed():
    stream = small().stream(end=False)
    with pytest.raises(TruncatedSnapshot):
        HeapGraph.decode([stream])
    for length in range(len(stream)):
        graph = HeapGraph.decode([stream[:length]], allow_truncated=True)
        assert graph.truncated
        assert graph.facts["nodes"] <= len(small().nodes)


def corrupt(stream: bytes, match: str) -> None:
    with pytest.raises(CorruptSnapshot, match=match):
        HeapGraph.decode([stream], allow_truncated=True)


def meta(kind: int, *numbers: int) -> bytes:
    return varint(kind << 3 | META) + b"".join(map(varint, numbers))


INT = meta(TEXT, 3) + b"int" + meta(TYPE, 1, 100, 4, 24, 4, 0, 1, 0)


def leaf(unit: int, previous: int = 0) -> bytes:
    return varint(1 << 3 | LEAF) + zigzag(unit - previous) + varint(28) + varint(1)


def test_end_must_agree_with_what_came():
    node = INT + leaf(10_000)
    HeapGraph.decode([node + meta(END, 1, 0, 28)])
    for counts in ((2, 0, 28), (1, 1, 28), (1, 0, 29)):
        corrupt(node + meta(END, *counts), "END says")


def test_nothing_may_follow_end():
    corrupt(meta(END, 0, 0, 0) + b"\x00", "follow END")


def test_two_nodes_at_one_address_are_corrupt():
    corrupt(INT + leaf(10_000) + leaf(10_000, 10_000), "two nodes")


@pytest.mark.parametrize("unit", [0, 1, 8191, 2**61, 2**64 - 1])
def test_an_object_cannot_stand_where_only_roots_do(unit: int):
    corrupt(INT + leaf(unit), "a node at address")


def test_types_and_texts_come_before_their_use():
    corrupt(leaf(10_000), "type 1 is used")
    corrupt(meta(TYPE, 1, 100, 4, 24, 4, 0, 1, 0), "text 1 is used")
    corrupt(meta(TYPE, 2, 100, 4, 24, 4, 0, 0, 0), "type 2 comes as")


def test_an_object_needs_a_type():
    corrupt(varint(LEAF) + zigzag(10_000) + varint(1) + varint(1), "without a type")


def test_varints_have_at_most_64_bits():
    corrupt(b"\xff" * 10, "64 bits")
    corrupt(b"\x80" * 9 + b"\x02", "64 bits")


@pytest.mark.parametrize(
    ("record", "match"),
    [
        (meta(6), "META of kind 6"),
        (meta(9), "META of kind 9"),
        (meta(TEXT, 2**40), "a text of"),
        (INT + meta(TYPE, 2, 1, 0, 0, 0, 0, 0, 1, 9, 1), "a field of kind 9"),
        (INT + varint(1 << 3 | COMPOUND) + zigzag(10_000) + b"\1\1\4\0", "form 4"),
        (varint(C << 3 | ROOT) + b"\0\0\0\0\0", "root with id 0"),
        (varint(C << 3 | ROOT) + varint(2**31) + b"\0\0\0\0", "root with id 2"),
        (meta(4, 1, 0, 0, 1, 2, 1), "2 free of 1"),
    ],
)
def test_numbers_without_a_meaning_are_corrupt(record: bytes, match: str):
    corrupt(record, match)


@pytest.mark.parametrize("tag", [ITEMS, PAIRS])
def test_a_count_costs_no_memory_before_its_refs_come(tag: int):
    head = INT + varint(1 << 3 | tag) + zigzag(10_000) + varint(1) + varint(1)
    graph = HeapGraph.decode([head + varint(2**62)], allow_truncated=True)
    assert graph.facts["nodes"] == 1


def test_pairs_beyond_any_memory_are_corrupt():
    head = INT + varint(1 << 3 | PAIRS) + zigzag(10_000) + varint(1) + varint(1)
    corrupt(head + varint(2**63), "pairs")


def test_sizes_cannot_overflow_their_sum():
    huge = varint(1 << 3 | LEAF) + zigzag(10_000) + varint(2**64 - 1) + varint(1)
    corrupt(INT + huge + leaf(10_001, 10_000), "add up")


def test_a_frame_of_unknown_code_is_still_a_frame():
    b = GraphBuilder()
    frame = b.node(FRAME, None, 80, line=3, refs=[b.leaf()])
    b.root(GREENLET, [("frame", frame)])
    graph = decode(b)
    assert graph.frames[node_of(graph, frame).index].code is None
    assert edges(graph, frame)[0][:2] == ("LOCAL", "")


def test_scattered_addresses_cost_bounded_memory():
    units = [10_000 + i * 2**40 for i in range(20_000)]
    stream = INT + b"".join(
        leaf(unit, previous) for previous, unit in itertools.pairwise([0, *units])
    )
    graph = HeapGraph.decode([stream + meta(END, 20_000, 0, 20_000 * 28)])
    assert graph.n_nodes == 20_000


def test_a_decoder_is_used_once():
    decoder = _graph.Decoder()
    decoder.feed(small().stream())
    decoder.finish(False)
    with pytest.raises(ValueError, match="finished"):
        decoder.feed(b"")
    with pytest.raises(ValueError, match="finished"):
        decoder.finish(False)


def test_columns_outlive_the_graph_they_are_of():
    graph = decode(small())
    addresses = graph.address
    expected = addresses.tolist()
    del graph
    assert addresses.tolist() == expected
    assert not addresses.flags.writeable


def test_unknown_columns_and_names_are_refused():
    graph = decode(small())
    with pytest.raises(KeyError):
        graph.raw.column("nothing")
    with pytest.raises(IndexError):
        graph.raw.name(10**6)
    assert graph.raw.find_name("no such text") == 0


def test_warnings_of_the_worker_are_kept():
    b = small()
    b.warn("something was odd")
    assert decode(b).raw.warnings() == ["something was odd"]


@pytest.mark.parametrize(
    ("header", "prefix", "mirror"),
    [
        ("heapgraph.h", "EDGE_", EdgeKind),
        ("heapgraph.h", "NODE_", NodeFlag),
        ("pathnodes.h", "LABEL_", Label),
    ],
)
def test_numbers_are_those_of_the_c_side(header: str, prefix: str, mirror: type):
    text = (CSRC / header).read_text()
    found = re.findall(rf"^    {prefix}([A-Z]+) = (\d+)\b", text, re.MULTILINE)
    assert {name: int(number) for name, number in found} == {
        member.name: int(member) for member in mirror
    }
