"""A table with many columns: a narrow screen loses those that matter least.

Cutting every cell would leave the names, which tell the rows apart, unreadable. A pipe
gets all columns.
"""

from collections.abc import Sequence

from liveheap.protocol.results import Column
from liveheap_client.render.table import Look, table

_GAP = 2
_READABLE = 24


def fitting(
    columns: Sequence[Column],
    rows: Sequence[Sequence[object]],
    *,
    look: Look,
    goes: Sequence[str],
    elastic: frozenset[str],
) -> list[str]:
    """Return the lines of a table without as many columns as do not fit.

    Args:
        columns: what the cells of a row are.
        rows: the cells.
        look: the screen.
        goes: names of columns that may be left out, the first to go first.
        elastic: names of columns whose long cells may be cut.
    """
    kept = list(range(len(columns)))
    for name in goes:
        if _fits([columns[i] for i in kept], _cells(rows, kept), look, elastic):
            break
        kept = [i for i in kept if columns[i].name != name]
    return table([columns[i] for i in kept], _cells(rows, kept), look=look)


def _cells(rows: Sequence[Sequence[object]], kept: Sequence[int]) -> list[list[object]]:
    return [[row[i] for i in kept] for row in rows]


def _fits(
    columns: Sequence[Column],
    rows: Sequence[Sequence[object]],
    look: Look,
    elastic: frozenset[str],
) -> bool:
    """Whether a table fits with its names at a width that is still readable."""
    if look.width is None:
        return True
    width = -_GAP
    for place, column in enumerate(columns):
        cells = [len(look.value(row[place], column.unit)) for row in rows]
        widest = max([len(column.name), *cells])
        width += _GAP + (min(widest, _READABLE) if column.name in elastic else widest)
    return width <= look.width
