"""Tables as lines of text.

One renderer for terminal and pipe, and not rich's: names like `CACHE[*]` are markup to
rich, `ps` runs where rich is not, and text that is compared exactly in tests should be
made by few lines. A pipe gets the same columns with plain numbers and nothing cut.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from liveheap.protocol.results import Column
from liveheap_client.render.escape import visible
from liveheap_client.render.units import NUMERIC, human, plain

_GAP = "  "
_BOLD, _RESET = "\x1b[1m", "\x1b[0m"
_NARROW_BESIDE = 20
_NARROWEST = 12


@dataclass(frozen=True, slots=True)
class Look:
    """How to show things: for a person or for a program, how wide, with bold or not."""

    human: bool = False
    width: int | None = None
    bold: bool = False

    def value(self, value: object, unit: str) -> str:
        return human(value, unit) if self.human else plain(value, unit)

    def strong(self, text: str) -> str:
        return f"{_BOLD}{text}{_RESET}" if self.bold else text


def table(
    columns: Sequence[Column], rows: Sequence[Sequence[object]], *, look: Look
) -> list[str]:
    """Return the lines of a table; numbers to the right, text to the left."""
    cells = [
        [
            look.value(value, column.unit)
            for value, column in zip(row, columns, strict=True)
        ]
        for row in rows
    ]
    titles = [visible(column.name) for column in columns]
    widths = [
        max([len(title), *(len(row[place]) for row in cells)])
        for place, title in enumerate(titles)
    ]
    if look.width is not None:
        _narrow(widths, columns, look.width)
    lines = [_line(row, widths, columns) for row in [titles, *cells]]
    return [look.strong(lines[0]), *lines[1:]]


def middle_cut(text: str, width: int) -> str:
    """Cut the middle out of a text: a dotted name keeps both of its ends."""
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def _narrow(widths: list[int], columns: Sequence[Column], width: int) -> None:
    """Take from the widest text columns until the table fits.

    The first of them says what a row is about: it keeps its width until the others
    have given what they can.
    """
    textual = [i for i, column in enumerate(columns) if column.unit not in NUMERIC]
    for chosen, least in ((textual[1:], _NARROW_BESIDE), (textual, _NARROWEST)):
        while sum(widths) + len(_GAP) * (len(widths) - 1) > width:
            widest = max(chosen, key=lambda place: widths[place], default=-1)
            if widest < 0 or widths[widest] <= least:
                break
            widths[widest] -= 1


def _line(
    cells: Sequence[str], widths: Sequence[int], columns: Sequence[Column]
) -> str:
    parts = []
    for text, width, column in zip(cells, widths, columns, strict=True):
        fitted = middle_cut(text, width)
        right = column.unit in NUMERIC
        parts.append(fitted.rjust(width) if right else fitted.ljust(width))
    return _GAP.join(parts).rstrip()
