"""Markup: whatever a worker calls its types is text on a page, and visible."""

import json
import re
from xml.etree import ElementTree

import pytest

from liveheap_client.report.markup import Markup, data_script, escaped, number, tag

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"'><svg/onload=alert(1)>",
    "a\u202eb\u2066c\u200fd",
    "bell\x07 null\x00 escape\x1b[2J",
    "lone\ud800half",
    "line\u2028paragraph\u2029separators",
    "&lt;script&gt;",
    "]]>",
    "<!--",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_name_is_text_in_an_element_and_in_an_attribute(text: str) -> None:
    element = ElementTree.fromstring(tag("b", text, title=text))

    assert len(element) == 0
    assert element.text == element.get("title")
    assert element.text is not None
    assert element.text.isprintable()


@pytest.mark.parametrize("text", HOSTILE)
def test_data_cannot_leave_its_script_element(text: str) -> None:
    element = data_script("d", {"name": text})
    inside = re.fullmatch(r"<script[^>]*>(.*)</script>", element, re.DOTALL)

    assert inside is not None
    assert not re.search(r"[<>&]", inside[1])
    assert inside[1].isascii()
    assert json.loads(inside[1]) == {"name": text}


def test_a_name_is_escaped_once() -> None:
    assert escaped("<a>") == "&lt;a&gt;"
    assert tag("p", escaped("<a>")) == "<p>&lt;a&gt;</p>"
    assert isinstance(tag("p"), Markup)


def test_attributes_are_spelled_as_in_html() -> None:
    shown = tag("th", "x", class_="a", aria_sort=None, data_v=1.5, hidden=True)

    assert shown == '<th class="a" data-v="1.5" hidden>x</th>'


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1"), (1.005, "1"), (-0.001, "0"), (10.0, "10"), (2.5, "2.5")],
)
def test_coordinates_are_short(value: float, text: str) -> None:
    assert number(value) == text


def test_a_name_cannot_fill_the_page() -> None:
    assert len(escaped("x" * 10_000)) <= 1000
