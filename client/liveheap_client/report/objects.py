"""objgraph's pictures, drawn here: from its DOT text to SVG, without Graphviz.

What comes is text from a worker, and only the few forms that objgraph writes are read:
nodes with a label, edges with or without one. Anything else in it is passed over. The
boxes are placed like those of `backrefs`, which takes a graph without a cycle; an edge
that would close one is not drawn, and the box that it leaves says where it goes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from liveheap_client.render.escape import visible
from liveheap_client.render.table import middle_cut
from liveheap_client.report.layers import Link
from liveheap_client.report.markup import Markup, tag
from liveheap_client.report.page import document
from liveheap_client.report.picture import (
    LONGEST_EDGE,
    LONGEST_LABEL,
    Drawn,
    Graph,
    draw,
    text_width,
)

MOST_BOXES = 200
MOST_LINKS = 600
LONGEST_SOURCE = 4 << 20
_NODE = re.compile(r"^ *(\w{1,64}) ?\[(.*)\];$")
_EDGE = re.compile(r"^ *(\w{1,64}) ?-> ?(\w{1,64})(?: ?\[(.*)\])?;$")
_LABEL = re.compile(r'label="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_DELETED = "_has_a_del"


@dataclass(slots=True)
class _Source:
    """What the text says: labels by name, who was asked for, and who refers to whom."""

    labels: dict[str, str] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    links: dict[tuple[str, str], str] = field(default_factory=dict)


def objects_picture(dot: str, *, alone: bool = False) -> Markup:
    """Return the SVG of a picture of objgraph's."""
    source = _read(dot)
    graph = _acyclic(source)
    names = [source.labels.get(name, name) for name in source.asked]
    title = f"Objects around {_first(names[0]) if names else 'nothing'}"
    return draw(graph, title, alone=alone)


def objects_page(dot: str, *, tool: str) -> str:
    """Return the page of a picture of objgraph's."""
    return document(
        "objects: liveheap clone",
        tag(
            "header",
            tag("p", "liveheap clone", class_="brand"),
            tag("h1", "Objects and who refers to them", class_="below"),
        ),
        tag(
            "main",
            tag(
                "div",
                objects_picture(dot),
                class_="wide large",
                role="region",
                aria_label="Objects",
                tabindex="0",
            ),
        ),
        tag("footer", tag("p", f"Made by {tool}. This page asks no network.")),
    )


def _read(dot: str) -> _Source:
    source = _Source()
    for line in dot[:LONGEST_SOURCE].split("\n"):
        if (edge := _EDGE.match(line)) is not None:
            left, right, attributes = edge.groups()
            if _DELETED not in right and len(source.links) < MOST_LINKS:
                source.links.setdefault((left, right), _label(attributes or ""))
        elif (node := _NODE.match(line)) is not None:
            name, attributes = node.groups()
            if "fontcolor=red" in attributes:
                source.asked.add(name)
            label = _label(attributes)
            if label and _DELETED not in name:
                source.labels.setdefault(name, label)
    return source


def _label(attributes: str) -> str:
    found = _LABEL.search(attributes)
    if found is None:
        return ""
    return _ESCAPED.sub(lambda m: "\n" if m[1] == "n" else m[1], found[1])


def _acyclic(source: _Source) -> Graph:
    """Return boxes and links; a link back is a line in the box that it leaves.

    The text names first what was asked for, then what is ever further from it. Its
    first link says whether the picture leads there or away from there.
    """
    kept = list(dict.fromkeys([*source.asked, *source.labels]))[:MOST_BOXES]
    places = {name: place for place, name in enumerate(kept)}
    known = {
        pair: label
        for pair, label in source.links.items()
        if pair[0] in places and pair[1] in places
    }
    towards = any(right in source.asked for _, right in [*source.links][:1])
    forward = _forward(kept, known, towards=towards)
    more: dict[str, list[str]] = {name: [] for name in kept}
    for left, right in known:
        if (left, right) not in forward:
            more[left].append(_first(source.labels.get(right, "?")))
    drawn = [
        Drawn(
            tuple(_lines(source.labels.get(name, "?"), more[name])),
            visible(source.labels.get(name, "?").replace("\n", "  ")),
            "asked" if name in source.asked else _kind(source.labels.get(name, "")),
        )
        for name in kept
    ]
    shown = [pair for pair in known if pair in forward]
    labels = [middle_cut(_flat(known[pair]), LONGEST_EDGE) for pair in shown]
    links = [
        Link(places[left], places[right], text_width(label))
        for (left, right), label in zip(shown, labels, strict=True)
    ]
    return Graph(drawn, links, labels)


def _forward(
    names: list[str], links: dict[tuple[str, str], str], *, towards: bool
) -> set[tuple[str, str]]:
    """Return the links that close no circle, those of the picture's direction first."""
    order = {name: place for place, name in enumerate(names)}
    after: dict[str, list[str]] = {name: [] for name in names}
    forward: set[tuple[str, str]] = set()
    later = []
    for left, right in links:
        if (order[left] > order[right]) == towards and left != right:
            forward.add((left, right))
            after[left].append(right)
        else:
            later.append((left, right))
    for left, right in later:
        if not _leads(after, right, left):
            forward.add((left, right))
            after[left].append(right)
    return forward


def _leads(after: dict[str, list[str]], start: str, end: str) -> bool:
    """Return whether links lead from one box to another."""
    met, waiting = {start}, [start]
    while waiting:
        name = waiting.pop()
        if name == end:
            return True
        fresh = [each for each in after[name] if each not in met]
        met.update(fresh)
        waiting.extend(fresh)
    return False


def _lines(label: str, back: list[str]) -> Iterator[str]:
    for text in label.split("\n", 1):
        yield middle_cut(_flat(text), LONGEST_LABEL)
    for text in back[:3]:
        yield middle_cut(f"↺ {text}", LONGEST_LABEL)


def _first(label: str) -> str:
    return _flat(label.partition("\n")[0])


def _flat(text: str) -> str:
    return visible(text.replace("\n", " "))


def _kind(label: str) -> str:
    return "root" if label.startswith("module\n") else "object"
