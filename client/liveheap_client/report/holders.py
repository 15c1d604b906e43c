"""What the heap consists of: an icicle that the page's script draws, and a tree.

The tree is plain nested `details`, so it works with the keyboard, without the script,
and in a text browser. The icicle's cells travel as data: the script makes the elements
and puts names in them as text.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from typing import Any

from liveheap_client.quantities import human_bytes, human_count
from liveheap_client.render.escape import visible
from liveheap_client.report.markup import Markup, data_script, tag

MOST_IN_TREE = 300
Holding = Mapping[str, Any]


def icicle(whole: Holding, *, growing: Collection[str]) -> Markup:
    """Return the icicle's place and its data; `growing` are paths to point out."""
    cells: list[dict[str, Any]] = []
    queue: deque[tuple[Holding, int, float, int, bool]] = deque(
        [(whole, -1, 0, 0, False)]
    )
    total = whole["bytes"] or 1
    while queue:
        holding, parent, left, depth, grows = queue.popleft()
        grows = grows or holding["text"] in growing
        number = len(cells)
        cells.append(
            {
                "label": _label(holding),
                "text": visible(holding["text"], longest=1000),
                "told": _told(holding, total),
                "left": round(left, 6),
                "width": round(holding["bytes"] / total, 6),
                "depth": depth,
                "parent": parent,
                "grows": grows,
            }
        )
        for child in holding["children"]:
            queue.append((child, number, left, depth + 1, grows))
            left += child["bytes"] / total
    return tag(
        "div",
        tag("div", class_="cells", role="tree", aria_label="What the heap consists of"),
        tag("p", class_="told", role="status"),
        data_script("icicle-data", cells),
        class_="icicle",
        hidden=True,
    )


def tree(whole: Holding) -> Markup:
    """Return the same as nested lists, the heaviest first, bounded."""
    budget = _Budget(MOST_IN_TREE)
    return tag("ul", _items(whole, whole["bytes"] or 1, budget), class_="tree")


class _Budget:
    """How many items may still be written."""

    def __init__(self, items: int) -> None:
        self.left = items


def _items(above: Holding, total: int, budget: _Budget) -> list[Markup]:
    items = []
    n_cut = above["n_lighter"]
    cut = above["lighter"]
    for child in above["children"]:
        if budget.left <= 0:
            n_cut, cut = n_cut + 1, cut + child["bytes"]
            continue
        budget.left -= 1
        line = [
            tag("code", _label(child)),
            " ",
            tag("span", _weight(child, total), class_="soft"),
        ]
        # Depth is bounded by the analysis, so this recursion is too.
        below = _items(child, total, budget)
        if below:
            line = [tag("details", tag("summary", line), tag("ul", below))]
        items.append(tag("li", line))
    if n_cut:
        text = f"{human_count(n_cut)} lighter: {human_bytes(cut)}"
        items.append(tag("li", text, class_="soft"))
    return items


def _label(holding: Holding) -> str:
    """Return a holding's label; of items it says what they are."""
    label = visible(holding["label"])
    if label.endswith(("[*]", "{key}")) and holding["type"]:
        label += f" {visible(holding['type']).rpartition('.')[2]}"
    return label


def _told(holding: Holding, total: int) -> str:
    """Return a holding's weight, and what of it the icicle does not show."""
    text = _weight(holding, total)
    if holding["n_lighter"]:
        text += (
            f"; below it {human_count(holding['n_lighter'])} lighter ones, "
            f"{human_bytes(holding['lighter'])} in all, are not drawn"
        )
    return text


def _weight(holding: Holding, total: int) -> str:
    share = 100 * holding["bytes"] / total
    text = f"{human_bytes(holding['bytes'])}, {share:.1f} %"
    if holding["count"] > 1:
        text += f", {human_count(holding['count'])} × {visible(holding['type'])}"
    elif holding["type"] and holding["type"] != holding["label"]:
        text += f", {visible(holding['type'])}"
    return text
