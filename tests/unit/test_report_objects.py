"""objgraph's pictures, drawn from their DOT text, which comes from a worker."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from liveheap_client.report.objects import objects_page, objects_picture

DOT = """digraph ObjectGraph {
  node[shape=box, style=filled, fillcolor=white];
  o1[fontcolor=red];
  o1[label="Row\\nat 0x1"];
  o1[fillcolor="0,0,1"];
  o2 -> o1 [label="str\\n'user:1'"];
  o2[label="dict\\n3 items"];
  o3 -> o2 [label="CACHE",weight=2];
  o1 -> o3;
  o3[label="module\\napp"];
  o2->o2_has_a_del[color=red,style=dotted,len=0.25,weight=10];
  o2_has_a_del[label="__del__",shape=doublecircle];
  too_many_o2->o2[color=red,style=dotted,len=0.25,weight=10];
  too_many_o2[label="7 more backreferences",shape=box];
}
"""


def texts(svg: str) -> list[str]:
    return [each.text or "" for each in ET.fromstring(svg).iter() if each.text]


def test_boxes_links_and_their_names_are_drawn():
    shown = texts(objects_picture(DOT, alone=True))
    for text in ("Row", "dict", "3 items", "module", "app", "CACHE", "str 'user:1'"):
        assert text in shown
    assert "7 more backreferences" in shown
    assert "__del__" not in shown


def test_a_link_that_closes_a_circle_is_told_in_its_box():
    shown = texts(objects_picture(DOT, alone=True))
    assert sum(text.startswith("↺") for text in shown) == 1


def test_a_page_holds_the_picture():
    assert "<svg" in objects_page(DOT, tool="liveheap test")


@pytest.mark.parametrize(
    "dot",
    [
        "",
        "digraph {",
        'o1[label="unfinished',
        'o1[label="<script>alert(1)</script>\x1b[31m\u202e"];',
        "o1 -> o1;\no1[label=\"itself\"];",
        "\n".join(f'o{n}[label="x"];\no{n} -> o{n + 1};' for n in range(5000)),
        "a" * 1_000_000,
    ],
)  # fmt: skip
def test_hostile_text_is_well_formed_and_bounded(dot):
    svg = objects_picture(dot, alone=True)
    ET.fromstring(svg)
    assert "<script" not in svg
    assert "\x1b" not in svg
    assert len(svg) < 2_000_000
