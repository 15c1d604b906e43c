"""What grows, one block a suspect: how fast, held by what, and who refers to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from liveheap_client.quantities import human_bytes, human_count, signed
from liveheap_client.report.charts import Line, chart
from liveheap_client.report.markup import Markup, tag
from liveheap_client.report.picture import picture

MOST_CARDS = 6
MOST_BOXES = 24
FEW = 100
LEAST_EACH = 0.5
MOST_CONTENTS = 3


@dataclass(frozen=True, slots=True)
class Axis:
    """The rounds as places on a chart, what stands under its ends, a slope's unit."""

    times: Sequence[float]
    ends: tuple[str, str]
    per: str = "round"


def carded(growth: Mapping[str, Any]) -> list[tuple[int, Mapping[str, Any]]]:
    """Return the suspects that get a block, with their places in the list of all.

    The verdict's own comes first.
    """
    chosen = growth["verdict"]["suspect"]
    numbered = list(enumerate(growth["suspects"], 1))
    numbered.sort(key=lambda one: one[0] - 1 != chosen)
    return numbered[:MOST_CARDS]


def card(
    place: int,
    suspect: Mapping[str, Any],
    axis: Axis,
    backrefs: Mapping[str, Any] | None,
) -> Markup:
    """Return the block of one suspect."""
    counted = "Items" if suspect["grows"] == "length" else "Objects"
    return tag(
        "article",
        tag("h3", tag("span", f"{place}", class_="place"), _path(str(suspect["path"]))),
        tag("p", _rate(suspect, axis.per), class_="rate"),
        _more_facts(suspect),
        tag(
            "div",
            chart(
                counted,
                [Line(counted.lower(), suspect["counts"], _count)],
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


def _rate(suspect: Mapping[str, Any], per: str) -> str:
    objects = float(suspect["growth_per_round"])
    fraction = abs(objects) < FEW and objects % 1
    count = human_count(round(objects, 1) if fraction else round(objects))
    size = human_bytes(float(suspect["bytes_per_round"]))
    what = "items" if suspect["grows"] == "length" else "objects"
    text = f"{signed(count)} {what} and {signed(size)} a round"
    if per == "hour":
        text += f", {signed(human_bytes(float(suspect['bytes_slope'])))} an hour"
    return text


def _more_facts(suspect: Mapping[str, Any]) -> Markup:
    """Return what else is known; a fact that the analysis does not tell is left out."""
    echoes, n_echoes = suspect.get("echoes") or (), suspect.get("n_echoes") or 0
    more = f" and {n_echoes - 1} more" if n_echoes > 1 else ""
    known = [
        ("Holder", _holder(suspect)),
        ("Waits in", suspect.get("waits_in")),
        ("Allocated at", suspect.get("alloc")),
        ("Task", suspect.get("task")),
        ("Each with", _contents(suspect)),
        ("Also grows there", ", ".join(suspect.get("also") or ())),
        ("In step", f"{echoes[0]}{more}" if echoes else None),
        ("Shape", suspect.get("levels_off") and "levels off, as a cache that fills"),
        ("Fingerprint", str(suspect["fingerprint"])[:12]),
    ]
    facts = [
        tag("div", tag("dt", word), tag("dd", tag("code", str(value))))
        for word, value in known
        if value
    ]
    return tag("dl", facts, class_="inline")


def _contents(suspect: Mapping[str, Any]) -> str:
    """Return what every object brings with it."""
    gained = max(suspect["counts"][-1] - suspect["counts"][0], 1)
    parts = []
    for content in suspect.get("contents") or ():
        each = content["gained"] / gained
        if content["type"] != suspect["type"] and each >= LEAST_EACH:
            size = human_bytes(content["gained_bytes"] / gained)
            parts.append(f"{each:.3g} {content['type']} ({size})")
    return ", ".join(parts[:MOST_CONTENTS])


def _holder(suspect: Mapping[str, Any]) -> str | None:
    if suspect["orphan"]:
        excess = suspect["excess_references"]
        return f"none: C keeps it, its reference count is {excess} higher than known"
    kind = f" ({suspect['holder_type']})" if suspect["holder_type"] else ""
    return f"{suspect['holder']}{kind}" if suspect["holder"] else None


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
