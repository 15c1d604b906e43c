"""Tables that a page's script can sort and filter, and that stand without it.

Every row is in the page; the script shows the first `SHOWN` of what passes the filter
until asked for all, and a table of few rows has no filter. A number's cell carries the
number, so sorting needs no parsing of what people read. At most `MOST_ROWS` rows are
written; the rest is counted in a line below, never left out silently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from liveheap_client.render.units import NUMERIC, human, human_count
from liveheap_client.report.markup import Markup, tag

MOST_ROWS = 500
SHOWN = 15
FEW = 10


@dataclass(frozen=True, slots=True)
class Column:
    """A column: `unit` says how its values are written, `code` that they are names."""

    title: str
    unit: str = "text"
    code: bool = False


def table(
    name: str,
    caption: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[object]],
    *,
    sorted_by: int | None = None,
    more: int = 0,
) -> Markup:
    """Return a table with its filter.

    Args:
        name: its id in the page, after `table-`.
        caption: what its rows are.
        columns: what its columns are.
        rows: the cells; those beyond the cap are counted.
        sorted_by: the column that the rows come in the falling order of.
        more: rows that the caller has left out already.
    """
    kept = rows[:MOST_ROWS]
    left_out = len(rows) - len(kept) + more
    head = [_head(column, number == sorted_by) for number, column in enumerate(columns)]
    body = [
        tag("tr", [_cell(c, v) for c, v in zip(columns, row, strict=True)])
        for row in kept
    ]
    return tag(
        "div",
        _tools(caption) if len(kept) > FEW else None,
        tag(
            "div",
            tag(
                "table",
                tag("caption", caption, class_="unseen"),
                tag("thead", tag("tr", head)),
                tag("tbody", body),
                id=f"table-{name}",
            ),
            class_="wide",
            role="region",
            aria_label=caption,
            tabindex="0",
        ),
        tag("button", "Show all", class_="all", type="button", hidden=True),
        tag("p", f"{human_count(left_out)} more are not in this page.", class_="left")
        if left_out
        else None,
        class_="sortable",
        data_shown=SHOWN,
    )


def _tools(caption: str) -> Markup:
    return tag(
        "div",
        tag(
            "label",
            tag("span", f"Filter {caption}"),
            tag("input", type="search", autocomplete="off", spellcheck="false"),
        ),
        tag("span", class_="count", role="status"),
        class_="tools",
    )


def _head(column: Column, is_sorted: bool) -> Markup:
    return tag(
        "th",
        tag("button", column.title, type="button"),
        scope="col",
        class_="number" if column.unit in NUMERIC else None,
        aria_sort="descending" if is_sorted else None,
    )


def _cell(column: Column, value: object) -> Markup:
    numeric = column.unit in NUMERIC
    known = isinstance(value, int | float) and not isinstance(value, bool)
    text = human(value, column.unit) if numeric else str(value)
    return tag(
        "td",
        tag("code", text) if column.code else text,
        class_="number" if numeric else None,
        data_v=repr(value) if numeric and known else None,
    )
