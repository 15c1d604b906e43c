"""What grows, one block a suspect: how fast, held by what, and who refers to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from liveheap_client.render.units import human_bytes, human_count, signed
from liveheap_client.report.charts import Line, chart
from liveheap_client.report.markup import Markup, tag
from liveheap_client.report.picture import picture

MOST_CARDS = 8
MOST_BOXES = 36


@dataclass(frozen=True, slots=True)
class Axis:
    """The rounds as places on a chart, and what stands under its ends."""

    times: Sequence[float]
    ends: tuple[str, str]


def card(
    place: int,
    suspect: Mapping[str, Any],
    axis: Axis,
    backrefs: Mapping[str, Any] | None,
) -> Markup:
    """Return the block of one suspect."""
    return tag(
        "article",
        tag("h3", tag("span", f"{place}", class_="place"), _path(str(suspect["path"]))),
        tag("p", _rate(suspect), class_="rate"),
        _more_facts(suspect),
        tag(
            "div",
            chart(
                "Objects",
                [Line("objects", suspect["counts"], _count)],
                axis.times,
                ends=axis.ends,
            ),
            chart(
                "Bytes, with all below",
                [Line("bytes", suspect["bytes"], human_bytes, "bytes")],
                axis.times,
                ends=axis.ends,
            ),
            _held_by(suspect),
            class_="columns",
        ),
        _picture(backrefs),
        class_="suspect",
    )


def _path(path: str) -> Markup:
    """Return a path that a browser may break where its steps meet."""
    steps = path.split(" -> ")
    parts: list[Markup | str] = []
    for number, step in enumerate(steps):
        if number:
            parts += [" ", tag("span", "→", class_="arrow"), " "]
        parts.append(step)
    return tag("code", parts)


def _rate(suspect: Mapping[str, Any]) -> str:
    objects = round(float(suspect["growth_per_round"]), 1)
    text = human_count(int(objects) if objects == int(objects) else objects)
    size = human_bytes(float(suspect["bytes_per_round"]))
    return f"{signed(text)} objects and {signed(size)} a round"


def _more_facts(suspect: Mapping[str, Any]) -> Markup | None:
    names = {
        "holder": "held by",
        "alloc": "allocated at",
        "task": "task",
        "fingerprint": "fingerprint",
    }
    known = [(word, suspect.get(name)) for name, word in names.items()]
    facts = [
        tag("div", tag("dt", word), tag("dd", tag("code", str(value))))
        for word, value in known
        if isinstance(value, str | int) and value != "" and not isinstance(value, bool)
    ]
    return tag("dl", facts, class_="inline") if facts else None


def _held_by(suspect: Mapping[str, Any]) -> Markup:
    steps = [tag("li", tag("code", str(step))) for step in suspect["retaining_path"]]
    return tag(
        "figure",
        tag("figcaption", "How one of them is held"),
        tag("ol", steps, class_="steps"),
    )


def _picture(backrefs: Mapping[str, Any] | None) -> Markup | None:
    if backrefs is None:
        return None
    return tag(
        "figure",
        tag("figcaption", "Who refers to them, from the roots on the left"),
        tag(
            "div",
            picture(backrefs, most=MOST_BOXES),
            class_="wide",
            role="region",
            aria_label="Who refers to them",
            tabindex="0",
        ),
    )


def _count(value: float) -> str:
    return human_count(int(value))
