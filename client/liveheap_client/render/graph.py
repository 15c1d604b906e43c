"""A worker's memory over time as a picture of text: filled columns, eight steps a line.

The axis begins at zero only where the figures are near it: growth is what one looks
for. But what hardly moves shall not look like a mountain, so the picture's height is
never less than a tenth of the peak. A time without figures (the machine slept, the
process was stopped) stays empty.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from liveheap_client.render.table import Look
from liveheap_client.render.units import human_bytes, human_seconds

_STEPS = " ▁▂▃▄▅▆▇█"
_HEIGHT = 5
_WIDEST = 100
_NARROWEST = 20
_LEAST_SHARE = 0.1
_HOLE = 2.5
_DAY_S = 86400.0

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Span:
    """A time and the most memory within it."""

    start: float
    end: float
    peak: float


def lines(rows: Sequence[Row], *, look: Look, height: int = _HEIGHT) -> Iterator[str]:
    """Yield the picture of a history's rows; nothing if there is not enough."""
    spans = spans_of(rows)
    if not spans:
        return
    top = max(span.peak for span in spans)
    floor = min(span.peak for span in spans)
    floor = max(0.0, min(floor, top * (1 - _LEAST_SHARE)))
    titles = [human_bytes(top), human_bytes(floor)]
    margin = max(map(len, titles))
    width = min((look.width or 80) - margin - 2, _WIDEST)
    if width < _NARROWEST:
        return
    columns = _columns(spans, width)
    start, end = spans[0].start, spans[-1].end
    yield look.strong(f"memory over {human_seconds(end - start)}")
    for line in range(height - 1, -1, -1):
        title = titles[0] if line == height - 1 else "" if line else titles[1]
        marks = "".join(_mark(peak, floor, top, line, height) for peak in columns)
        yield f"{title:>{margin}} │{marks}".rstrip()
    first, last = _clock(start, end - start), _clock(end, end - start)
    yield f"{'':{margin}}  {first}{last:>{width - len(first)}}"


def spans_of(rows: Sequence[Row]) -> list[Span]:
    """Return what each row stands for: the time from the row before it, if no hole."""
    told = [(float(row["time"]), float(row["peak"])) for row in rows if row.get("peak")]
    gaps = [after[0] - before[0] for before, after in pairwise(told)]
    found = []
    for place, gap in enumerate(gaps):
        beside = [*gaps[max(place - 1, 0) : place], *gaps[place + 1 : place + 2]]
        is_hole = beside and gap > _HOLE * max(beside)
        end, peak = told[place + 1]
        if gap > 0:
            found.append(Span(end - (min(beside) if is_hole else gap), end, peak))
    return found


def _columns(spans: Sequence[Span], width: int) -> list[float | None]:
    """Return the most of each column; None where nothing is known."""
    start, end = spans[0].start, spans[-1].end
    step = (end - start) / width
    columns: list[float | None] = [None] * width
    for span in spans:
        first = int((span.start - start) / step)
        last = max(first + 1, round((span.end - start) / step))
        for place in range(first, min(last, width)):
            columns[place] = max(columns[place] or 0.0, span.peak)
    return columns


def _mark(peak: float | None, floor: float, top: float, line: int, height: int) -> str:
    if peak is None:
        return " "
    whole = 1 + (peak - floor) / ((top - floor) or 1.0) * (height * 8 - 1)
    return _STEPS[max(0, min(8, round(whole) - line * 8))]


def _clock(moment: float, span_s: float) -> str:
    form = "%H:%M" if span_s < _DAY_S else "%Y-%m-%d %H:%M"
    return time.strftime(form, time.localtime(moment))
