"""The picture of referrers: well-formed, bounded, the same twice."""

from typing import Any
from xml.etree import ElementTree

import pytest
from test_report_markup import HOSTILE

from liveheap_client.report.picture import picture, text_width

SVG = "{http://www.w3.org/2000/svg}"


def node(label: str, *children: dict[str, Any], **fields: Any) -> dict[str, Any]:
    given = {"type": label, "count": 1, "edge": ".x", "root": False, "more": 0}
    return {**given, "label": label, "children": [*children], **fields}


def asked(label: str, *children: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return node(label, *children, edge=None, **fields)


def module(name: str = "module app", edge: str = ".X") -> dict[str, Any]:
    return node(name, edge=edge, root=True)


def boxes(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    groups = [g for g in root.findall(f"{SVG}g") if g.find(f"{SVG}rect") is not None]
    return [title.text or "" for g in groups for title in g.findall(f"{SVG}title")]


def test_boxes_and_names_of_references_are_drawn() -> None:
    tree = asked("Row", node("list", module(edge=".ROWS"), edge="[*]"), count=1320)
    svg = picture(tree, alone=True)
    texts = [text.text for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]

    assert boxes(svg) == ["Row", "list", "module app"]
    assert texts == ["[*]", ".ROWS", "Row", "× 1,320", "list", "module app"]


def test_a_root_that_holds_twice_is_one_box() -> None:
    tree = asked("Row", node("a", module(edge=".A")), node("b", module(edge=".B")))

    assert boxes(picture(tree, alone=True)).count("module app") == 1


def test_no_more_boxes_than_asked_for_and_the_rest_is_told() -> None:
    tree = asked("Row", *(node(f"T{number}") for number in range(500)), more=3)
    svg = picture(tree, most=20, alone=True)

    assert len(boxes(svg)) == 20
    assert "+ 484 more kinds of referrers" in svg


def test_a_tree_of_great_depth_is_drawn() -> None:
    tree = module()
    for number in range(600):
        tree = node(f"T{number}", tree)

    assert len(boxes(picture(asked("Row", tree), most=1000, alone=True))) == 602


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_well_formed_and_visible(name: str) -> None:
    tree = asked(name, node(name, module(name, name), edge=name))
    root = ElementTree.fromstring(picture(tree, alone=True))

    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {
        *("svg", "title", "style", "g", "path", "rect", "text")
    }
    assert all(t.text and t.text.isprintable() for t in root.iter(f"{SVG}text"))


def test_in_a_page_the_style_is_the_page_s() -> None:
    assert "<style>" in picture(asked("Row"), alone=True)
    assert "<style>" not in picture(asked("Row"))


def test_the_same_tree_gives_the_same_picture() -> None:
    tree = asked("Row", node("a", module(edge=".A")), node("b", module(edge=".B")))

    assert picture(tree) == picture(tree)


def test_wide_characters_take_two_columns() -> None:
    assert text_width("漢字") == text_width("abcd")
    assert text_width("e\u0301") == text_width("e")
