"""The tree of referrers as text, from its JSON form."""

from collections.abc import Iterator, Mapping
from typing import Any

from liveheap_client.render.escape import visible
from liveheap_client.render.table import Look, middle_cut
from liveheap_client.render.units import human_count


def lines(root: Mapping[str, Any], *, look: Look) -> Iterator[str]:
    """Yield the tree; the type looked for stands at the top, roots at the tips."""
    stack = [(root, "", "")]
    while stack:
        node, prefix, below = stack.pop()
        text = prefix + _label(node, look)
        text = text if look.width is None else middle_cut(text, look.width)
        yield look.strong(text) if node is root else text
        children = [*node["children"]]
        if node["more"]:
            children.append(_cut_off(node["more"]))
        last = len(children) - 1
        for place in range(last, -1, -1):
            branch, gap = ("└─ ", "   ") if place == last else ("├─ ", "│  ")
            stack.append((children[place], below + branch, below + gap))


def _label(node: Mapping[str, Any], look: Look) -> str:
    label = visible(node["label"])
    text = f"{visible(node['edge'])}  {label}" if node["edge"] else label
    if node["count"] == 1:
        return text
    return f"{text}  x{human_count(node['count']) if look.human else node['count']}"


def _cut_off(more: int) -> dict[str, Any]:
    kinds = "1 more kind" if more == 1 else f"{human_count(more)} more kinds"
    label = f"... {kinds} of referrers: --limit"
    return {"label": label, "edge": None, "count": 1, "more": 0, "children": []}
