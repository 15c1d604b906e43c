"""The four result shapes as lines of text, and as plain data for --json."""

from collections.abc import Iterator
from typing import Any

from liveheap.protocol.results import Blob, Record, Table, Tree, TreeNode
from liveheap_client.render.escape import visible
from liveheap_client.render.table import Look, middle_cut, table
from liveheap_client.render.units import human, plain

Shape = Record | Table | Tree | Blob

_SAID = {"seconds": "took"}
"""Names that would read as a wrong unit: `seconds  26 ms`."""
_NAMES_NOT_AMOUNTS = frozenset({"pid", "protocol", "generation"})


def lines(shape: Shape, *, look: Look) -> Iterator[str]:
    """Yield a result as text."""
    if isinstance(shape, Record):
        yield from _record(shape.fields, look)
    elif isinstance(shape, Table):
        yield from table(shape.columns, shape.rows, look=look)
    elif isinstance(shape, Tree):
        yield from _tree(shape.root, look)
    else:
        trailer = shape.trailer
        yield from _record([(key, "", value) for key, value in trailer.items()], look)


def as_json(shape: Shape) -> Any:
    """Return a result as plain data: what --json prints."""
    if isinstance(shape, Record):
        return shape.as_dict()
    if isinstance(shape, Table):
        return shape.as_dicts()
    if isinstance(shape, Tree):
        return _node_as_json(shape.root)
    return {"header": shape.header, "trailer": shape.trailer}


def _record(fields: Any, look: Look) -> Iterator[str]:
    fields = [(_SAID.get(name, name), unit, value) for name, unit, value in fields]
    width = max((len(name) for name, _, _ in fields), default=0)
    for name, unit, value in fields:
        text = look.value(value, "id" if name in _NAMES_NOT_AMOUNTS else unit)
        if look.width is not None:
            text = middle_cut(text, max(look.width - width - 2, 12))
        yield f"{look.strong(visible(name).ljust(width))}  {text}"


def _tree(root: TreeNode, look: Look) -> Iterator[str]:
    """Yield the lines of a tree; a loop, since the depth is the worker's choice."""
    stack = [(root, "", "")]
    while stack:
        node, prefix, below = stack.pop()
        line = prefix + _label(node, look)
        yield line if look.width is None else middle_cut(line, look.width)
        last = len(node.children) - 1
        for place in range(last, -1, -1):
            branch, gap = ("└─ ", "   ") if place == last else ("├─ ", "│  ")
            stack.append((node.children[place], below + branch, below + gap))


def _label(node: TreeNode, look: Look) -> str:
    form = human if look.human else plain
    facts = ", ".join(
        f"{visible(name)} {form(value, unit)}" for name, unit, value in node.fields
    )
    label = visible(node.label)
    return f"{label}  ({facts})" if facts else label


def _node_as_json(node: TreeNode) -> dict[str, Any]:
    return {
        "label": node.label,
        "fields": {name: value for name, _, value in node.fields},
        "children": [_node_as_json(child) for child in node.children],
    }
