"""Dominator trees, retaining paths and objects as text, from their JSON forms."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from liveheap.protocol.results import Column
from liveheap_client.render.escape import visible
from liveheap_client.render.table import Look, middle_cut, table
from liveheap_client.render.units import human, human_count

_REFERENCES = (
    Column("reference", "text"),
    Column("object", "text"),
    Column("address", "text"),
    Column("retained", "bytes"),
)


def tree_lines(found: Mapping[str, Any], *, look: Look) -> Iterator[str]:
    """Yield the dominator tree, and where memory gathers."""
    root = found["tree"]
    stack = [(root, "", "")]
    while stack:
        node, prefix, below = stack.pop()
        line = _cut(f"{_amount(node, look)}  {prefix}{_name(node)}", look)
        yield look.strong(line) if node is root else line
        children = [*node["children"]]
        if node["more"]:
            children.append(_left_out(node))
        last = len(children) - 1
        for place in range(last, -1, -1):
            branch, gap = ("└─ ", "   ") if place == last else ("├─ ", "│  ")
            stack.append((children[place], below + branch, below + gap))
    for point in found["accumulation_points"]:
        parts = human_count(point["more"])
        yield ""
        yield _cut(f"memory gathers in  {visible(point['label'])}", look)
        yield f"  {_size(point, look)} in {parts} parts, {point['share']:.1f} %"


def path_lines(found: Mapping[str, Any], *, look: Look) -> Iterator[str]:
    """Yield retaining paths, the best first."""
    amount = look.value(found["retained"], "bytes")
    times = "" if found["count"] == 1 else f"  x{human_count(found['count'])}"
    yield look.strong(f"{visible(found['subject'])}{times}  retains {amount}")
    for path in found["paths"]:
        yield ""
        if found["count"] > 1:
            size = look.value(path["retained"], "bytes")
            count = human_count(path["count"])
            yield f"{count} held like {path['address']:#x}, retaining {size}"
        for depth, step in enumerate(path["steps"]):
            yield _cut(
                f"{'held by' if not depth else '       '}  {visible(step)}", look
            )
        if path["excess"] is not None:
            yield f"orphan   {_excess(path['excess'])}"
    if found["more"]:
        yield ""
        yield f"{human_count(found['more'])} more ways: --count"


def object_lines(found: Mapping[str, Any], *, look: Look) -> Iterator[str]:
    """Yield one object."""
    yield look.strong(_cut(f"{visible(found['what'])} at {found['address']:#x}", look))
    count = found["refcount"]
    facts = [
        ("size", look.value(found["size"], "bytes")),
        ("retained", look.value(found["retained"], "bytes")),
        ("references", "immortal" if count is None else human_count(count)),
        ("referrers", f"{human_count(found['known_referrers'])} known"),
    ]
    if found["excess"]:
        facts.append(("orphan", _excess(found["excess"])))
    for name, text in facts:
        yield f"{name.ljust(12)}{text}"
    for depth, step in enumerate(found["held_by"]):
        yield _cut(f"{'held by' if not depth else '':12}{visible(step)}", look)
    yield from _references("referrers", found, look)
    yield from _references("referents", found, look)


def _references(kind: str, found: Mapping[str, Any], look: Look) -> Iterator[str]:
    rows: Sequence[Mapping[str, Any]] = found[kind]
    if not rows:
        return
    yield ""
    yield look.strong(kind)
    cells = [
        [
            row["name"] if row["owns"] else f"({row['name']})",
            row["object"],
            "-" if row["address"] is None else f"{row['address']:#x}",
            row["retained"],
        ]
        for row in rows
    ]
    yield from table(_REFERENCES, cells, look=look)
    more = found[f"more_{kind}"]
    if more:
        yield f"{human_count(more)} more: --limit"


def _excess(count: int) -> str:
    if count <= 0:
        return "no object that we see refers to it"
    noun = "reference" if count == 1 else "references"
    return f"{human_count(count)} {noun} that no object explains: C code holds it"


def _amount(node: Mapping[str, Any], look: Look) -> str:
    return f"{_size(node, look):>10} {node['share']:5.1f} %"


def _size(node: Mapping[str, Any], look: Look) -> str:
    return human(node["retained"], "bytes") if look.human else str(node["retained"])


def _name(node: Mapping[str, Any]) -> str:
    label = visible(node["label"])
    return label if node["count"] <= 1 else f"{label}  x{human_count(node['count'])}"


def _left_out(node: Mapping[str, Any]) -> dict[str, Any]:
    total = max(node["retained"], 1)
    return {
        "label": f"... {_more_kinds(node['more'])}: --width, --min-size",
        "count": 1,
        "retained": node["more_bytes"],
        "share": node["share"] * node["more_bytes"] / total,
        "more": 0,
        "children": [],
    }


def _more_kinds(more: int) -> str:
    return "1 more kind" if more == 1 else f"{human_count(more)} more kinds"


def _cut(line: str, look: Look) -> str:
    return line if look.width is None else middle_cut(line, look.width)
