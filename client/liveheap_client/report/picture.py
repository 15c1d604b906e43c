"""The tree of referrers as a picture, drawn without Graphviz.

Time runs as in the sentence "module app .CACHE .rows [*] Row": roots on the left, the
type asked for on the right, every reference an arrow with its name on it. A module or a
kind of root that holds in several ways is one box, so the tree becomes a graph.

The picture has a bound, `most` boxes, taken breadth first, thus nearest to the type; a
box says how many kinds of referrers it has that are not drawn. Labels are set in a
monospaced face, the only kind whose width is known before it is drawn.

In a page the page's style sheet colours it. Alone it carries its own, which follows the
reader's light or dark scheme.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from unicodedata import combining, east_asian_width

from liveheap_client.render.escape import visible
from liveheap_client.render.table import middle_cut
from liveheap_client.render.units import human_count
from liveheap_client.report.layers import Box, Link, Placed, Spacing, arrange
from liveheap_client.report.markup import Markup, asset, number, raw, tag

MOST_BOXES = 120
FONT_SIZE = 12
CHARACTER = 0.602 * FONT_SIZE
LINE = 17
PADDING = 9
MARGIN = 8
LONGEST_LABEL = 40
LONGEST_EDGE = 26
FITTING = 1500


@dataclass(frozen=True, slots=True)
class Drawn:
    """What goes into one box."""

    lines: tuple[str, ...]
    full: str
    kind: str


@dataclass(frozen=True, slots=True)
class Graph:
    """What is to be placed: boxes, links, and what stands on each link."""

    drawn: Sequence[Drawn]
    links: Sequence[Link]
    labels: Sequence[str]


def text_width(text: str) -> float:
    """Return the width of a text in a monospaced face of the picture's size."""
    columns = sum(
        0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text
    )
    return columns * CHARACTER


def picture(
    tree: Mapping[str, Any], *, most: int = MOST_BOXES, alone: bool = False
) -> Markup:
    """Return the SVG of a tree of referrers, given in its JSON form."""
    title = f"Who refers to {visible(tree['label'])}"
    return draw(_graph(tree, most), title, alone=alone)


def draw(graph: Graph, title: str, *, alone: bool) -> Markup:
    """Return the SVG of a graph without a cycle."""
    leaving = Counter(link.source for link in graph.links)
    boxes = [_box(one, leaving[place]) for place, one in enumerate(graph.drawn)]
    placed = arrange(boxes, graph.links, Spacing(across=44, along=10))
    return _svg(graph, boxes, placed, title, alone=alone)


def _graph(tree: Mapping[str, Any], most: int) -> Graph:
    """Turn a tree into boxes and links; a root becomes one box wherever it holds."""
    nodes: list[Mapping[str, Any]] = [tree]
    undrawn = [int(tree["more"])]
    counts = [int(tree["count"])]
    roots: dict[str, int] = {}
    links: dict[tuple[int, int, str], None] = {}
    queue = deque([(tree, 0)])
    while queue:
        node, place = queue.popleft()
        for child in node["children"]:
            known = roots.get(str(child["label"])) if child["root"] else None
            if known is None and len(nodes) >= most:
                undrawn[place] += 1
                continue
            if known is None:
                known = len(nodes)
                nodes.append(child)
                undrawn.append(int(child["more"]))
                counts.append(int(child["count"]))
                if child["root"]:
                    roots[str(child["label"])] = known
                queue.append((child, known))
            else:
                counts[known] = max(counts[known], int(child["count"]))
            links[known, place, str(child["edge"] or "")] = None
    drawn = [_content(n, c, u) for n, c, u in zip(nodes, counts, undrawn, strict=True)]
    labels = [middle_cut(visible(edge), LONGEST_EDGE) for _, _, edge in links]
    routes = [
        Link(source, target, text_width(label))
        for (source, target, _), label in zip(links, labels, strict=True)
    ]
    return Graph(drawn, routes, labels)


def _content(node: Mapping[str, Any], count: int, undrawn: int) -> Drawn:
    label = visible(node["label"])
    lines = [middle_cut(label, LONGEST_LABEL)]
    if count != 1:
        lines.append(f"× {human_count(count)}")
    if undrawn:
        kinds = "kind" if undrawn == 1 else "kinds"
        lines.append(f"+ {human_count(undrawn)} more {kinds} of referrers")
    kind = "root" if node["root"] else "asked" if node["edge"] is None else "object"
    return Drawn(tuple(lines), label, kind)


def _box(drawn: Drawn, leaving: int) -> Box:
    """Return the room for the lines of a box, and for the names of what leaves it."""
    width = max(map(text_width, drawn.lines)) + 2 * PADDING
    return Box(width, LINE * max(len(drawn.lines), leaving) + PADDING)


def _svg(
    graph: Graph, boxes: Sequence[Box], placed: Placed, title: str, *, alone: bool
) -> Markup:
    width, height = placed.width + 2 * MARGIN, placed.height + 2 * MARGIN
    return tag(
        "svg",
        tag("title", title),
        tag("style", raw(asset("picture.css"))) if alone else None,
        [_link(*one) for one in zip(placed.routes, graph.labels, strict=True)],
        [_node(*one) for one in zip(graph.drawn, boxes, placed.corners, strict=True)],
        xmlns="http://www.w3.org/2000/svg" if alone else None,
        class_="picture fits" if width <= FITTING else "picture",
        role="img",
        viewBox=f"0 0 {number(width)} {number(height)}",
        width=width,
        height=height,
        font_size=FONT_SIZE,
    )


def _node(drawn: Drawn, box: Box, corner: tuple[float, float]) -> Markup:
    x, y = corner[0] + MARGIN, corner[1] + MARGIN
    first, *more = drawn.lines
    return tag(
        "g",
        tag("title", drawn.full),
        tag("rect", x=x, y=y, width=box.width, height=box.height, rx=4),
        _line(first, x + PADDING, y + LINE),
        [
            _line(text, x + PADDING, y + LINE * (place + 2), class_="more")
            for place, text in enumerate(more)
        ],
        class_=drawn.kind,
    )


def _line(text: str, x: float, y: float, *, class_: str | None = None) -> Markup:
    return tag("text", text, x=x, y=y, class_=class_)


def _link(route: Sequence[tuple[float, float]], label: str) -> Markup:
    """Return a link: straight as long as its name stands on it, then a curve."""
    (x, y), (edge, _), *points = [(x + MARGIN, y + MARGIN) for x, y in route]
    name = tag("text", label, x=x + 6, y=y - 5) if label else None
    path = f"M{number(x)} {number(y)}"
    x = max(edge, x + text_width(label) + 12)
    path += f"H{number(x)}"
    for place, (next_x, next_y) in enumerate(points):
        if place % 2:
            path += f"H{number(next_x)}"
        else:
            half = (x + next_x) / 2
            path += f"C{number(half)} {number(y)} {number(half)} {number(next_y)} "
            path += f"{number(next_x)} {number(next_y)}"
        x, y = next_x, next_y
    path += f"M{number(x - 7)} {number(y - 3.5)}L{number(x)} {number(y)}"
    path += f"L{number(x - 7)} {number(y + 3.5)}"
    return tag("g", tag("path", d=path), name, class_="link")
