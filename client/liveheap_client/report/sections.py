"""The parts of a page: what grows, what the heap consists of, what retains most, types.

Each is a section with a heading and may be left out; none knows of another.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from liveheap_client.quantities import human_bytes
from liveheap_client.report.charts import Line, chart
from liveheap_client.report.facts import whole
from liveheap_client.report.holders import icicle, tree
from liveheap_client.report.markup import Child, Markup, joined, tag
from liveheap_client.report.suspects import Axis, card, carded
from liveheap_client.report.tables import Column, table

Growth = Mapping[str, Any]


def growing(
    growth: Growth, backrefs: Mapping[str, Mapping[str, Any]], axis: Axis
) -> Markup:
    """Return what grows: memory, the first suspects in depth, all in a table."""
    cards = [
        card(place, suspect, axis, backrefs.get(str(suspect["path"])))
        for place, suspect in carded(growth)
    ]
    if not growth["suspects"]:
        rest = tag("p", "No path of objects gained in every round.", class_="soft")
    else:
        rest = joined([tag("h3", "All suspects"), _all_suspects(growth)])
    return _section("growth", "What grows", _memory(growth, axis), cards, rest)


def _memory(growth: Growth, axis: Axis) -> Markup:
    """Return charts of the process: bytes, objects, and descriptors if known."""
    rounds, memory = growth["rounds"], growth["memory"]
    lines = [Line("heap", [r["bytes"] for r in rounds], human_bytes, "bytes")]
    if any(size is not None for size in growth["rss"]):
        lines.insert(0, Line("RSS", growth["rss"], human_bytes, "rss"))
    objects = [Line("objects", [r["nodes"] for r in rounds], whole)]
    charts = [
        chart("Memory", lines, axis.times, ends=axis.ends),
        chart("Objects", objects, axis.times, ends=axis.ends),
    ]
    opened = [
        Line(name, [one[name] for one in memory], whole, kind)
        for name, kind in (("descriptors", "rss"), ("sockets", "bytes"))
        if any(one.get(name) is not None for one in memory)
    ]
    if opened:
        charts.append(chart("Open", opened, axis.times, ends=axis.ends))
    return tag("div", charts, class_="columns")


def _all_suspects(growth: Growth) -> Markup:
    columns = (
        Column("#", "id"),
        Column("Path", code=True),
        Column("First", "count"),
        Column("Last", "count"),
        Column("Objects a round", "count"),
        Column("Bytes a round", "bytes"),
    )
    rows = [
        (
            place,
            suspect["path"],
            suspect["counts"][0],
            suspect["counts"][-1],
            round(suspect["growth_per_round"], 1),
            round(suspect["bytes_per_round"]),
        )
        for place, suspect in enumerate(growth["suspects"], 1)
    ]
    return table("suspects", "suspects", columns, rows, more=growth["more_suspects"])


def consists(holdings: Mapping[str, Any], marked: Collection[str]) -> Markup:
    """Return the dominator tree by path, as an icicle and as a list."""
    explained = (
        "A block is as wide as the memory that would be freed if it were gone; what "
        "several share stands beside them."
    )
    if marked:
        explained += " Blocks that grow are red."
    return _section(
        "holdings",
        "What the heap consists of",
        tag("p", explained, class_="soft"),
        icicle(holdings, growing=marked),
        tag(
            "details",
            tag("summary", "The same as a list"),
            tree(holdings),
            class_="list",
        ),
    )


def retaining(rows: Sequence[tuple[str, str, str, int, int]], total: int) -> Markup:
    """Return the objects that retain most."""
    columns = (
        Column("Path", code=True),
        Column("Type", code=True),
        Column("Address", code=True),
        Column("Itself", "bytes"),
        Column("Retains", "bytes"),
        Column("Of the heap", "percent"),
    )
    cells = [(*row, 100 * row[-1] / (total or 1)) for row in rows]
    found = table("retained", "objects", columns, cells, sorted_by=4)
    return _section("retaining", "What retains most", found)


def types(rows: Sequence[tuple[str, int, int]], growth: Growth | None) -> Markup:
    """Return all types, over the rounds if there are several."""
    cells: Sequence[Sequence[object]] = rows
    columns = [Column("Type", code=True), Column("Objects", "count")]
    columns.append(Column("Bytes", "bytes"))
    if growth is not None:
        columns[1:] = [
            Column("First", "count"),
            Column("Last", "count"),
            Column("Gained", "count"),
            Column("Bytes", "bytes"),
            Column("Bytes gained", "bytes"),
        ]
        cells = [_over_rounds(row) for row in growth["types"]]
    found = table("types", "types", columns, cells, sorted_by=len(columns) - 1)
    return _section("types", "Types", found)


def _over_rounds(row: Mapping[str, Any]) -> tuple[object, ...]:
    counts, sizes = row["counts"], row["bytes"]
    gained = counts[-1] - counts[0]
    return (
        row["type"],
        counts[0],
        counts[-1],
        gained,
        sizes[-1],
        sizes[-1] - sizes[0],
    )


def _section(name: str, title: str, *children: Child) -> Markup:
    return tag("section", tag("h2", title), children, id=name)
