"""The tree of referrers as text, from its JSON form."""

from collections.abc import Iterator, Mapping
from typing import Any

from liveheap_client.render.escape import visible
from liveheap_client.render.table import Look
from liveheap_client.render.units import human_count


def lines(root: Mapping[str, Any], *, look: Look) -> Iterator[str]:
    """Yield the tree; the type looked for stands at the top, roots at the tips."""
    stack = [(root, "", "")]
    while stack:
        node, prefix, below = stack.pop()
        text = prefix + _label(node, look)
        yield look.strong(text) if node is root else text
        children = node.get("children") or []
        last = len(children) - 1
        for place in range(last, -1, -1):
            branch, gap = ("└─ ", "   ") if place == last else ("├─ ", "│  ")
            stack.append((children[place], below + branch, below + gap))


def _label(node: Mapping[str, Any], look: Look) -> str:
    edge = node.get("edge")
    label = visible(node.get("label") or node.get("type") or "?")
    text = f"{visible(edge)} of {label}" if edge else label
    count = node.get("count")
    if isinstance(count, int):
        text += f"  x{human_count(count) if look.human else count}"
    return text
