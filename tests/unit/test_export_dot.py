"""Graphviz source: the merged dominator tree, and who refers to a type."""

import re
from pathlib import Path

import pytest
from stream_builder import GREENLET, INTERNAL, GraphBuilder

from liveheap.errors import CommandError
from liveheap_client.analysis.graph import HeapGraph
from liveheap_client.export.dot import MOST_BOXES, DotExporter


def worker() -> GraphBuilder:
    b = GraphBuilder()
    row = b.type("app", "Row", ["text"])
    rows = [b.instance(row, [b.leaf("str", 1000)], 48) for _ in range(3)]
    b.module("app", {"ROWS": b.list(rows, 88)})
    code = b.code("sync", "/app/worker.py", ["out"], first_line=40)
    b.root(GREENLET, [("frame", b.frame(code, 41, [b.list(size=500)]))], number=1)
    return b


def drawn(b: GraphBuilder, place: Path, type_name: str | None = None) -> str:
    graph = HeapGraph.decode([b.stream()])
    DotExporter(type_name).write(graph, place, lambda *_: None)
    return place.read_text(encoding="utf-8")


def edges(dot: str) -> list[tuple[str, str]]:
    """Return the arrows as pairs of labels."""
    labels = dict(re.findall(r'^  (n\d+) \[label="((?:[^"\\]|\\.)*)"', dot, re.M))
    arrows = re.findall(r"^  (n\d+) -> (n\d+);", dot, re.M)
    return [(labels[above], labels[below]) for above, below in arrows]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "heap.dot"


def test_objects_of_one_type_below_one_holder_are_one_box(place: Path):
    arrows = edges(drawn(worker(), place))

    rows = "[*] -> app.Row\\nx3  3.1 KiB"
    assert (rows, ".text -> str\\nx3  2.9 KiB") in arrows
    (holder,) = [above for above, below in arrows if below == rows]
    assert holder.startswith(".ROWS -> list\\nx1")
    (module,) = [above for above, below in arrows if below == holder]
    assert module.startswith("module app\\nx1")
    frame = "frame -> sync() at worker.py:41\\nx1  596 B"
    assert ("greenlet\\nx1  596 B", frame) in arrows


def test_the_picture_is_bounded_and_light_boxes_stay_out(place: Path):
    b = GraphBuilder()
    for number in range(MOST_BOXES + 50):
        b.module(f"m{number}", {"X": b.leaf("str", 10_000)})
    b.module("tiny", {})

    dot = drawn(b, place)

    assert 0 < len(edges(dot)) <= MOST_BOXES
    assert "module tiny" not in dot


def test_the_referrers_of_a_type_are_drawn_when_asked_for(place: Path):
    dot = drawn(worker(), place, "Row")

    assert dot.startswith("digraph backrefs")
    with pytest.raises(CommandError, match="no object of a type"):
        drawn(worker(), place, "Nothing")


def test_nothing_in_a_name_ends_a_label(place: Path):
    b = GraphBuilder()
    name = 'a"];\n n0 -> n0 [label="\\\x1b[31m\u202e'
    b.module("app", {"X": b.instance(b.type("app", name), size=5000)})

    dot = drawn(b, place)

    assert 'app.a\\"];\\\\x0a n0' in dot
    assert "\\\\x1b[31m\\\\x202e" in dot
    assert len(edges(dot)) == len(re.findall(r"^  n\d+ \[label", dot, re.M)) - 1


def test_an_empty_heap_is_one_box(place: Path):
    assert edges(drawn(GraphBuilder(), place)) == []


def test_a_part_is_not_a_box_of_its_own(place: Path):
    b = GraphBuilder()
    row = b.type("app", "Row", [(INTERNAL, "__dict__")])
    b.module("app", {"X": b.instance(row, [b.named_dict({}, 5000)], 48)})

    assert any(
        below == ".X -> app.Row\\nx1  4.9 KiB" for _, below in edges(drawn(b, place))
    )
