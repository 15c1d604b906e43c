"""Line charts of a few rounds: small, alike, and readable without their colours.

The vertical axis starts at zero, for growth is judged against what was there before.
Only the first and the last value are written; all of them stand in the description,
which is what a screen reader reads. Times are equally far apart only if rounds were.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from liveheap_client.report.markup import Markup, number, tag

WIDTH, HEIGHT = 320.0, 112.0
TOP, BOTTOM, SIDE = 24.0, 18.0, 4.0
DOT = 2.6
CHARACTER = 6.5


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart; a round without a value is None."""

    name: str
    values: Sequence[float | None]
    form: Callable[[float], str]
    kind: str = "count"


def chart(
    title: str, lines: Sequence[Line], times: Sequence[float], *, ends: Sequence[str]
) -> Markup:
    """Return a figure with a line chart.

    Args:
        title: what it shows, in words.
        lines: what to draw; all share the axis.
        times: where the rounds stand on the horizontal axis.
        ends: what is written under its two ends.
    """
    known = [value for line in lines for value in line.values if value is not None]
    highest = max([*known, 0]) or 1
    base = HEIGHT - BOTTOM
    svg = tag(
        "svg",
        tag("title", title),
        tag("desc", "; ".join(map(_told, lines))),
        tag("line", x1=0, y1=base, x2=WIDTH, y2=base, class_="base"),
        [_line(line, times, highest) for line in lines],
        tag("text", ends[0], x=SIDE, y=HEIGHT - 4, class_="tick"),
        tag("text", ends[-1], x=WIDTH - SIDE, y=HEIGHT - 4, class_="tick end"),
        class_="chart",
        role="img",
        viewBox=f"0 0 {number(WIDTH)} {number(HEIGHT)}",
    )
    legend = None
    if len(lines) > 1:
        legend = tag(
            "span",
            [tag("span", line.name, class_=f"key {line.kind}") for line in lines],
            class_="legend",
        )
    return tag("figure", tag("figcaption", title, legend), svg)


def _told(line: Line) -> str:
    shown = ("unknown" if v is None else line.form(v) for v in line.values)
    return f"{line.name}: {', '.join(shown)}"


def _line(line: Line, times: Sequence[float], highest: float) -> Markup:
    first, span = times[0], (times[-1] - times[0]) or 1
    room = HEIGHT - TOP - BOTTOM
    points = [
        (
            SIDE + (WIDTH - 2 * SIDE) * (time - first) / span,
            HEIGHT - BOTTOM - room * value / highest,
            value,
        )
        for time, value in zip(times, line.values, strict=True)
        if value is not None
    ]
    if not points:
        return Markup()
    path = "M" + "L".join(f"{number(x)} {number(y)}" for x, y, _ in points)
    base = number(HEIGHT - BOTTOM)
    area = f"{path}L{number(points[-1][0])} {base}L{number(points[0][0])} {base}Z"
    marks = [tag("circle", cx=x, cy=y, r=DOT) for x, y, _ in points]
    texts = [_value(line, points[::-1], "end")]
    if len(points) > 1:
        texts.insert(0, _value(line, points, "start"))
    return tag(
        "g",
        tag("path", d=area, class_="area"),
        tag("path", d=path, class_="stroke"),
        marks,
        texts,
        class_=f"line {line.kind}",
    )


def _value(
    line: Line, points: Sequence[tuple[float, float, float]], side: str
) -> Markup:
    """Return the first point's value, written clear of the line that leaves it."""
    x, y, value = points[0]
    text = line.form(value)
    if len(points) > 1:
        next_x, next_y, _ = points[1]
        reach = min(1.0, len(text) * CHARACTER / (abs(next_x - x) or 1))
        y = min(y, y + (next_y - y) * reach)
    shift = -SIDE if side == "start" else SIDE
    return tag("text", text, x=x + shift, y=y - 8, class_=f"value {side}")
