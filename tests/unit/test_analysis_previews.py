"""Contents in files of scope values: how they read, and files made to do harm."""

from pathlib import Path

import format_reader
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stream_builder import (
    LEAF,
    META,
    PREVIEW,
    TEXT,
    TYPE,
    GraphBuilder,
    Node,
    varint,
    write_snapshot,
    zigzag,
)

from liveheap.errors import CorruptSnapshot, SnapshotError
from liveheap.snapshot.format import Content
from liveheap_client.analysis import backrefs, inspection, retaining, texts
from liveheap_client.analysis.columncache import ColumnCache
from liveheap_client.analysis.filters import Filter
from liveheap_client.analysis.graph import HeapGraph
from liveheap_client.analysis.paths import PathNodes
from liveheap_client.analysis.previews import written

VALUES = {"pid": 1, "scope": "values", "texts": True}
HEAD = (
    varint(TEXT << 3 | META)
    + b"\x03str"
    + b"".join(map(varint, (TYPE << 3 | META, 1, 100, 4, 24, 4, 0, 1, 0)))
)
NODE = varint(1 << 3 | LEAF) + zigzag(10_000) + varint(50) + varint(1)


def heap() -> tuple[GraphBuilder, Node, Node]:
    """A cache by data keys, one of whose values is a text."""
    b = GraphBuilder()
    key = b.leaf("str", 60, preview="user:4711", content="user:4711")
    number = b.leaf("int", 28, preview=17)
    value = b.leaf("str", 90, preview="a note of " + 80 * "x", content="a note")
    copy = b.leaf("str", 90, preview="a note of " + 80 * "x", content="a note")
    row = b.instance(b.type("app", "Row", ["price"]), [b.leaf("float", preview=1.25)])
    cache = b.dict([(key, value), (number, row), (b.leaf("str"), b.leaf("str"))])
    b.module("app", {"CACHE": cache, "COPIES": b.list([copy])})
    return b, value, row


def decode(b: GraphBuilder) -> HeapGraph:
    return HeapGraph.decode([b.stream()], header=VALUES)


def lines_to(graph: HeapGraph, node: Node) -> str:
    index = inspection.node_at(graph, node.address)
    return " | ".join(retaining.of_object(graph, index, most=1).paths[0].steps)


def test_the_path_of_one_object_says_its_keys_and_its_content():
    b, value, row = heap()
    graph = decode(b)

    assert "['user:4711'] -> str 'a note of xxx" in lines_to(graph, value)
    assert "[17] -> app.Row" in lines_to(graph, row)


def test_merged_paths_do_not_say_keys():
    b, *_ = heap()
    told = PathNodes.of(decode(b)).texts()

    assert any("app.CACHE[*]" in text for text in told)
    assert not any("user:4711" in text for text in told)


def test_an_object_says_its_content_and_what_refers_to_it_by_which_key():
    b, value, _ = heap()
    graph = decode(b)
    node = inspection.node_at(graph, value.address)
    found = inspection.inspect(graph, node, Filter(), limit=9)

    assert found.what.startswith("str 'a note of ")
    assert found.what.endswith("x…'")
    assert [each.name for each in found.referrers] == ["['user:4711']"]


def test_backrefs_say_the_key_of_a_single_reference():
    b, *_ = heap()
    tree = backrefs.tree(decode(b), "app.Row")
    assert [child.edge for child in tree.children] == ["[17]"]

    many = GraphBuilder()
    kind = many.type("app", "Row", [])
    pairs = [(many.leaf("str", preview=f"k{i}"), many.instance(kind)) for i in (1, 2)]
    many.module("app", {"CACHE": many.dict(pairs)})
    tree = backrefs.tree(decode(many), "app.Row")
    assert [child.edge for child in tree.children] == ["[*]"]


def test_strings_say_a_content_unless_one_copy_is_silent():
    b, *_ = heap()
    (told,) = texts.duplicates(decode(b), limit=9).rows
    assert told.content.startswith("'a note of ")

    b.module("silent", {"PASSWORDS": b.list([b.leaf("str", 90, content="a note")])})
    (told,) = texts.duplicates(decode(b), limit=9).rows
    assert told.content == ""


@pytest.mark.parametrize(
    ("kind", "text", "length", "shown"),
    [
        (Content.STR, "it's", 4, '"it\'s"'),
        (Content.STR, "abc", 9, "'abc…'"),
        (Content.STR, "\x1b[2J\u202e\n", 6, r"'\x1b[2J\u202e\n'"),
        (Content.BYTES, "\xff\x00a", 3, r"b'\xff\x00a'"),
        (Content.BYTES, "\u2603", 1, "b'?'"),
        (Content.BYTEARRAY, "ab", 5, "bytearray(b'ab…')"),
        (Content.INT, "-12", 0, "-12"),
        (Content.FLOAT, "0x1.8000000000000p1", 0, "3.0"),
        (Content.FLOAT, "-inf", 0, "-inf"),
        (Content.FLOAT, "no number", 0, "no number"),
        (Content.FLOAT, "0x1p99999", 0, "0x1p99999"),
    ],
)
def test_a_content_reads_as_python_writes_it(kind, text, length, shown):
    assert written(kind, text, length) == shown


def test_page_and_decoder_agree_on_every_preview(tmp_path: Path):
    b, *_ = heap()
    path = write_snapshot(tmp_path / "1.liveheap", b, header=VALUES)
    file, graph = format_reader.read(path), HeapGraph.load(path)
    names = ["", "str", "bytes", "bytearray", "int", "float"]
    told = graph.previews
    decoded = {
        int(graph.address[node]) * 8: (names[kind], int(length), graph.name(int(name)))
        for node, kind, length, name in zip(
            told.node, told.kind, told.length, told.name, strict=True
        )
    }

    assert decoded == file.previews
    assert len(decoded) == 5


def test_contents_in_a_file_that_is_not_of_scope_values_are_refused(tmp_path: Path):
    b, *_ = heap()
    path = write_snapshot(tmp_path / "1.liveheap", b, header={"pid": 1})
    with pytest.raises(CorruptSnapshot, match="scope values"):
        HeapGraph.load(path)


def test_what_is_kept_beside_a_file_has_the_contents_and_is_only_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    b, value, _ = heap()
    path = write_snapshot(tmp_path / "1.liveheap", b, header=VALUES)
    graph = HeapGraph.load(path)
    cache = ColumnCache(tmp_path / ".columns", bytes(32))
    cache.write(graph.raw)
    again = cache.read()
    assert again is not None
    kept = HeapGraph(again, header=VALUES)

    assert "'user:4711'" in lines_to(kept, value)
    assert cache.path.stat().st_mode & 0o777 == 0o600


def preview(*, to: int = 10_000, kind: int = 1, text: bytes = b"abc") -> bytes:
    told = varint(PREVIEW << 3 | META) + zigzag(to) + varint(kind) + varint(3)
    return told + varint(len(text)) + text


@pytest.mark.parametrize(
    ("stream", "match"),
    [
        (HEAD + NODE + preview(kind=0), "contents of kind 0"),
        (HEAD + NODE + preview(kind=6), "contents of kind 6"),
        (HEAD + NODE + preview(kind=2**64 - 1), "contents of kind"),
        (HEAD + NODE + preview() + preview(to=0), "two previews"),
        (HEAD + NODE + preview(text=b"x" * ((1 << 20) + 1)), "a text of"),
    ],
)
def test_a_preview_that_makes_no_sense_is_corrupt(stream: bytes, match: str):
    with pytest.raises(CorruptSnapshot, match=match):
        HeapGraph.decode([stream], header=VALUES, allow_truncated=True)


def test_a_cut_preview_and_one_of_nobody_are_not_there():
    whole = HEAD + NODE + preview()
    for end in range(len(HEAD + NODE), len(whole)):
        cut = HeapGraph.decode([whole[:end]], header=VALUES, allow_truncated=True)
        assert len(cut.previews) == 0
    for to in (0, 1, 10_001, -1, 2**60, 2**63 - 1):
        stream = HEAD + NODE + preview(to=to)
        lost = HeapGraph.decode([stream], header=VALUES, allow_truncated=True)
        assert len(lost.previews) == 0


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2**12), st.binary(max_size=4)), max_size=4),
    st.integers(1, 64),
)
def test_a_damaged_stream_is_read_or_refused(
    changes: list[tuple[int, bytes]], step: int
):
    b, *_ = heap()
    out = bytearray(b.stream())
    for where, what in changes:
        for i, byte in enumerate(what):
            out[(where + i) % len(out)] ^= byte
    pieces = [bytes(out[i : i + step]) for i in range(0, len(out), step)]
    try:
        graph = HeapGraph.decode(pieces, header=VALUES, allow_truncated=True)
    except SnapshotError:
        return
    for node in range(graph.n_nodes):
        graph.previews.text(node)
        PathNodes.of(graph).retaining_path(node) if graph.root_of(node) is None else 0
    texts.duplicates(graph, limit=5).to_json()
