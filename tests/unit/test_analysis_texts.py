"""Texts that are there more than once, and hashes made to do harm."""

from pathlib import Path

import format_reader
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stream_builder import (
    ITEMS,
    LEAF,
    META,
    ROOT,
    TEXT,
    TYPE,
    C,
    GraphBuilder,
    Node,
    varint,
    write_snapshot,
    zigzag,
)

from liveheap.errors import CorruptSnapshot, SnapshotError
from liveheap_client.analysis import texts
from liveheap_client.analysis.graph import HeapGraph, column

HASH = 7
WITH_TEXTS = {"pid": 1, "texts": True}
HEAD = (
    varint(TEXT << 3 | META)
    + b"\x03str"
    + b"".join(map(varint, (TYPE << 3 | META, 1, 100, 4, 24, 4, 0, 1, 0)))
)
NODE = varint(1 << 3 | LEAF) + zigzag(10_000) + varint(50) + varint(1)


def text(b: GraphBuilder, content: str | bytes, size: int = 100) -> Node:
    name = "str" if isinstance(content, str) else "bytes"
    return b.leaf(name, size, content=content)


def heap() -> GraphBuilder:
    """Three copies of one content in two places, two of another, some alone."""
    b = GraphBuilder()
    row = b.type("app", "Row", ["name"])
    rows = [b.instance(row, [text(b, "a name", 60)]) for _ in range(2)]
    held = [text(b, b"a payload", 1000), text(b, b"a payload", 1000), text(b, "a name")]
    alone = [text(b, "a payload", 5000), text(b, ""), text(b, b"")]
    b.module("app", {"ROWS": b.list(rows), "HELD": b.list([*held, *alone])})
    return b


def decode(b: GraphBuilder) -> HeapGraph:
    return HeapGraph.decode([b.stream()], header=WITH_TEXTS)


def test_equal_contents_are_ranked_by_what_their_copies_waste():
    found = texts.duplicates(decode(heap()), limit=10)

    assert [(r.type, r.length, r.copies, r.wasted) for r in found.rows] == [
        ("bytes", 9, 2, 1000),
        ("str", 6, 3, 120),
    ]
    assert (found.texts, found.contents, found.copies, found.wasted) == (8, 2, 5, 1120)
    assert found.bytes == 2 * 60 + 2 * 1000 + 100 + 5000 + 2 * 100


def test_a_content_is_told_with_the_paths_that_hold_most_of_it():
    (_, name) = texts.duplicates(decode(heap()), limit=10).rows

    assert [(h.path, h.copies) for h in name.holders] == [
        ("app.ROWS[*].name", 2),
        ("app.HELD[*]", 1),
    ]
    assert name.n_holders == 2


def test_a_path_bears_the_share_of_its_copies():
    found = texts.duplicates(decode(heap()), limit=10)

    assert [(p.path, p.contents, p.copies, p.wasted) for p in found.paths] == [
        ("app.HELD[*] -> bytes", 1, 2, 1000),
        ("app.ROWS[*].name -> str", 1, 2, round(120 * 120 / 220)),
        ("app.HELD[*] -> str", 1, 1, round(120 * 100 / 220)),
    ]
    assert found.n_paths == 3


def test_many_contents_with_few_copies_are_one_path():
    b = GraphBuilder()
    names = [text(b, f"name {i}") for i in range(30)]
    again = [text(b, f"name {i}") for i in range(30)]
    b.module("app", {"NAMES": b.list([*names, *again])})
    (path,) = texts.duplicates(decode(b), limit=5).paths

    assert (path.contents, path.copies, path.wasted) == (30, 60, 3000)


def test_of_many_paths_the_first_are_told_and_all_are_counted():
    b = GraphBuilder()
    b.module("app", {f"NAME_{i}": text(b, "all alike") for i in range(9)})
    (row,) = texts.duplicates(decode(b), limit=10).rows

    assert (row.copies, row.n_holders) == (9, 9)
    assert len(row.holders) == texts.MOST_HOLDERS


def test_limit_and_least_bound_the_rows_and_least_the_sums():
    graph = decode(heap())
    first = texts.duplicates(graph, limit=1)
    large = texts.duplicates(graph, limit=10, least=121)

    assert (len(first.rows), first.contents) == (1, 2)
    assert [row.wasted for row in large.rows] == [1000]
    assert (large.contents, large.copies, large.wasted) == (1, 2, 1000)


def test_a_heap_without_texts_wastes_nothing():
    b = GraphBuilder()
    b.module("app", {})
    found = texts.duplicates(decode(b), limit=10)

    assert (found.texts, found.contents, found.rows) == (0, 0, ())


def test_a_file_tells_whether_it_has_hashes(tmp_path: Path):
    bare = HeapGraph.load(write_snapshot(tmp_path / "1.liveheap", GraphBuilder()))
    empty = write_snapshot(tmp_path / "2.liveheap", GraphBuilder(), header=WITH_TEXTS)

    assert not texts.has_hashes(bare)
    assert texts.has_hashes(HeapGraph.load(empty))
    assert texts.has_hashes(HeapGraph.decode([heap().stream()]))


def test_page_and_decoder_agree_on_every_hash(tmp_path: Path):
    path = write_snapshot(tmp_path / "1.liveheap", heap(), header=WITH_TEXTS)
    file, graph = format_reader.read(path), HeapGraph.load(path)
    kinds = {1: "str", 2: "bytes"}
    columns = zip(
        graph.address[column(graph.raw, "content_node", np.int32)],
        column(graph.raw, "content_kind", np.uint8),
        column(graph.raw, "content_length", np.uint64),
        column(graph.raw, "content_hash", np.uint64),
        strict=True,
    )
    decoded = {
        int(at) * 8: (kinds[int(kind)], int(length), int(value).to_bytes(8, "little"))
        for at, kind, length, value in columns
    }

    assert decoded == file.hashes
    assert len(decoded) == 8


@pytest.mark.parametrize("size", [1, 7])
def test_hashes_come_through_pieces_cut_anywhere(size: int):
    stream = heap().stream()
    pieces = [stream[i : i + size] for i in range(0, len(stream), size)]
    cut = HeapGraph.decode(pieces, header=WITH_TEXTS)

    assert texts.duplicates(cut, limit=9) == texts.duplicates(decode(heap()), limit=9)


def hashed(kind: int = 1, length: int = 3) -> bytes:
    return varint(HASH << 3 | META) + varint(kind) + varint(length) + bytes(8)


ROOT_RECORD = varint(C << 3 | ROOT) + b"\1\0\0\0\0"
A_LIST = varint(1 << 3 | ITEMS) + zigzag(10_000) + b"\1\1\0"


@pytest.mark.parametrize(
    ("stream", "match"),
    [
        (hashed(), "before any object"),
        (HEAD + hashed(), "before any object"),
        (HEAD + NODE + hashed() + hashed(), "two hashes"),
        (HEAD + NODE + hashed(kind=0), "contents of kind 0"),
        (HEAD + NODE + hashed(kind=3), "contents of kind 3"),
        (HEAD + NODE + hashed(kind=2**64 - 1), "contents of kind"),
        (HEAD + A_LIST + hashed(), "no str and no bytes"),
        (HEAD + NODE + ROOT_RECORD + hashed(), "no str and no bytes"),
    ],
)
def test_a_hash_of_nothing_or_twice_is_corrupt(stream: bytes, match: str):
    with pytest.raises(CorruptSnapshot, match=match):
        HeapGraph.decode([stream], allow_truncated=True)


def test_a_cut_hash_is_not_there():
    whole = HEAD + NODE + hashed()
    for end in range(len(HEAD + NODE), len(whole)):
        graph = HeapGraph.decode([whole[:end]], allow_truncated=True)
        assert len(column(graph.raw, "content_node", np.int32)) == 0


def test_a_length_beyond_any_memory_is_a_number():
    second = varint(1 << 3 | LEAF) + zigzag(6) + varint(50) + varint(1)
    twice = HEAD + NODE + hashed(length=2**64 - 1) + second + hashed(length=2**64 - 1)
    (row,) = texts.duplicates(
        HeapGraph.decode([twice], allow_truncated=True), limit=1
    ).rows

    assert (row.copies, row.length, row.wasted) == (2, 2**64 - 1, 50)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**12), st.binary(max_size=4)), max_size=4))
def test_a_damaged_stream_is_read_or_refused(changes: list[tuple[int, bytes]]):
    out = bytearray(heap().stream())
    for where, what in changes:
        for i, byte in enumerate(what):
            out[(where + i) % len(out)] ^= byte
    try:
        graph = HeapGraph.decode([bytes(out)], allow_truncated=True)
    except SnapshotError:
        return
    texts.duplicates(graph, limit=5).to_json()
