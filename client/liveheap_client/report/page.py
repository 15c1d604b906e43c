"""One page that holds a whole report: no network, no other file, nothing to install.

What is on it comes as `Material`, plain data as the analysis returns it. Charts and
graphs are drawn here, as SVG, so they print and stand without JavaScript; the script
sorts and filters tables and draws the icicle.

Names in a heap are the worker's, and may be hostile. Three locks, each enough alone:
`markup.tag` escapes every text; the script sets text, never markup; and the page's
Content-Security-Policy allows the page's own style and script by their hashes, nothing
else, and no connection anywhere.

The page is bounded: every table, tree and picture has a cap and says what it left out.
"""

from __future__ import annotations

import base64
import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from liveheap_client.render.flags import reservations
from liveheap_client.render.units import human_bytes, human_count, human_seconds
from liveheap_client.report.charts import Line, chart
from liveheap_client.report.headline import Headline, headline
from liveheap_client.report.holders import icicle, tree
from liveheap_client.report.markup import Markup, asset, joined, raw, tag
from liveheap_client.report.suspects import MOST_CARDS, Axis, card
from liveheap_client.report.tables import Column, table

Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Material:
    """What a page is made of.

    `rounds` are headers and trailers, oldest first, with the `file` each came from;
    `types` the types of the newest; `backrefs` trees by the path of their suspect.
    """

    rounds: Sequence[Facts]
    growth: Facts | None
    types: Sequence[tuple[str, int, int]]
    holdings: Facts
    backrefs: Mapping[str, Facts] = field(default_factory=dict)
    tool: str = "liveheap"


def page(material: Material) -> str:
    """Return the page as HTML."""
    style = asset("picture.css") + asset("page.css")
    script = asset("page.js")
    top = headline(material.growth, material.holdings)
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; "
        f"script-src '{_digest(script)}'; base-uri 'none'; form-action 'none'"
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"{top.word}: {_worker(material)} - liveheap report"),
        tag("style", raw(style)),
    )
    body = tag(
        "body",
        _banner(material, top),
        tag("main", _sections(material)),
        _foot(material),
        tag("script", raw(script)),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _sections(material: Material) -> list[Markup]:
    growth = material.growth
    sections = []
    if growth is not None:
        sections.append(_growing(growth, material.backrefs, _axis(material.rounds)))
    sections.append(_consists(material))
    sections.append(_types(material))
    sections.append(_rounds(material))
    return sections


def _banner(material: Material, top: Headline) -> Markup:
    notes = list(material.growth["notes"]) if material.growth else []
    notes += [f"{name}: {note}" for name, note in _flags(material.rounds)]
    return tag(
        "header",
        tag("p", "liveheap report", class_="brand"),
        tag("p", top.word, class_=f"word {top.mood}"),
        tag("h1", top.sentence),
        tag("p", top.more, class_="more") if top.more else None,
        tag(
            "dl",
            [_fact(name, value) for name, value in _facts(material)],
            class_="facts",
        ),
        tag("ul", [tag("li", str(note)) for note in notes], class_="notes")
        if notes
        else None,
    )


def _fact(name: str, value: str) -> Markup:
    return tag("div", tag("dt", name), tag("dd", value))


def _facts(material: Material) -> list[tuple[str, str]]:
    """Return what is known of the worker and its rounds, as words."""
    first, last = material.rounds[0], material.rounds[-1]
    facts = [("Worker", _worker(material))]
    for name, key in (("Host", "hostname"), ("Python", "python")):
        values = list(dict.fromkeys(str(r[key]) for r in material.rounds if r.get(key)))
        if values:
            facts.append((name, ", ".join(values[:4])))
    moments = [r["created"] for r in material.rounds if _is_number(r.get("created"))]
    if moments:
        facts.append(("Taken", _moment(moments[0])))
    if len(moments) > 1:
        span = human_seconds(max(moments[-1] - moments[0], 0))
        facts.append(("Rounds", f"{len(material.rounds)} in {span}"))
    facts += _from_to("Objects", first, last, "nodes", _whole)
    facts += _from_to("Heap", first, last, "bytes", human_bytes)
    facts += _from_to("RSS", first, last, "rss", human_bytes)
    pauses = [r["pause_ns"] for r in material.rounds if _is_number(r.get("pause_ns"))]
    if pauses:
        facts.append(("Longest pause", human_seconds(max(pauses) / 1e9)))
    return facts


def _from_to(
    name: str, first: Facts, last: Facts, key: str, form: Any
) -> list[tuple[str, str]]:
    if not (_is_number(first.get(key)) and _is_number(last.get(key))):
        return []
    if first is last:
        return [(name, form(last[key]))]
    return [(name, f"{form(first[key])} → {form(last[key])}")]


def _worker(material: Material) -> str:
    """Name the process that the rounds are of, or say that they are of several."""
    known = {(r.get("pid"), r.get("instance")) for r in material.rounds}
    if len(known) > 1:
        return f"{len(known)} different processes"
    last = material.rounds[-1]
    program = last.get("program")
    name = program if isinstance(program, str) and program else "a worker"
    pid = last.get("pid")
    return f"{name} (pid {pid})" if isinstance(pid, int) else name


def _growing(growth: Facts, backrefs: Mapping[str, Facts], axis: Axis) -> Markup:
    suspects = growth["suspects"]
    rows = [
        (
            place,
            suspect["path"],
            suspect["counts"][0],
            suspect["counts"][-1],
            suspect["growth_per_round"],
            suspect["bytes_per_round"],
        )
        for place, suspect in enumerate(suspects, 1)
    ]
    columns = (
        Column("#", "id"),
        Column("Path", code=True),
        Column("First", "count"),
        Column("Last", "count"),
        Column("Objects a round", "count"),
        Column("Bytes a round", "bytes"),
    )
    everything = table(
        "suspects", "suspects", columns, rows, more=growth.get("more_suspects", 0)
    )
    return tag(
        "section",
        tag("h2", "What grows"),
        _memory(growth, axis),
        [
            card(place, suspect, axis, backrefs.get(str(suspect["path"])))
            for place, suspect in enumerate(suspects[:MOST_CARDS], 1)
        ],
        joined([tag("h3", "All suspects"), everything]) if suspects else None,
        id="growth",
    )


def _memory(growth: Facts, axis: Axis) -> Markup:
    rounds = growth["rounds"]
    lines = [Line("heap", [r["bytes"] for r in rounds], human_bytes, "bytes")]
    if any(size is not None for size in growth["rss"]):
        lines.insert(0, Line("RSS", growth["rss"], human_bytes, "rss"))
    objects = [Line("objects", [r["nodes"] for r in rounds], _whole)]
    return tag(
        "div",
        chart("Memory", lines, axis.times, ends=axis.ends),
        chart("Objects", objects, axis.times, ends=axis.ends),
        class_="columns",
    )


def _consists(material: Material) -> Markup:
    growing = (
        {s["path"] for s in material.growth["suspects"]} if material.growth else ()
    )
    return tag(
        "section",
        tag("h2", "What the heap consists of"),
        tag(
            "p",
            "Each block is what a path leads to; an object counts once, at the "
            "shortest path from a root.",
            " Blocks that grow are marked." if growing else None,
            class_="soft",
        ),
        icicle(material.holdings, growing=growing),
        tag(
            "details",
            tag("summary", "The same as a list"),
            tree(material.holdings),
            class_="list",
        ),
        id="holdings",
    )


def _types(material: Material) -> Markup:
    if material.growth is None:
        rows: list[tuple[object, ...]] = [*material.types]
        columns = [
            Column("Type", code=True),
            Column("Objects", "count"),
            Column("Bytes", "bytes"),
        ]
        sorted_by = 2
    else:
        rows = [
            (
                r["type"],
                r["counts"][0],
                r["counts"][-1],
                r["counts"][-1] - r["counts"][0],
                r["bytes"][-1],
                r["bytes"][-1] - r["bytes"][0],
            )
            for r in material.growth["types"]
        ]
        columns = [
            Column("Type", code=True),
            Column("First", "count"),
            Column("Last", "count"),
            Column("Gained", "count"),
            Column("Bytes", "bytes"),
            Column("Bytes gained", "bytes"),
        ]
        sorted_by = 5
    return tag(
        "section",
        tag("h2", "Types"),
        table("types", "types", columns, rows, sorted_by=sorted_by),
        id="types",
    )


def _rounds(material: Material) -> Markup:
    columns = (
        Column("File", code=True),
        Column("Taken", "text"),
        Column("Process", "id"),
        Column("Objects", "count"),
        Column("References", "count"),
        Column("Heap", "bytes"),
        Column("RSS", "bytes"),
        Column("Pause", "seconds"),
    )
    rows = [
        (
            r.get("file", ""),
            _moment(r["created"]) if _is_number(r.get("created")) else "unknown",
            r.get("pid"),
            r.get("nodes"),
            r.get("edges"),
            r.get("bytes"),
            r.get("rss"),
            r["pause_ns"] / 1e9 if _is_number(r.get("pause_ns")) else None,
        )
        for r in material.rounds
    ]
    return tag(
        "section",
        tag("h2", "Rounds"),
        table("rounds", "rounds", columns, rows),
        id="rounds",
    )


def _foot(material: Material) -> Markup:
    return tag(
        "footer",
        tag(
            "p",
            f"Made by {material.tool} from {len(material.rounds)} "
            f"snapshot{'s' if len(material.rounds) != 1 else ''}. This page asks no "
            "network for anything. It names types, attributes and functions; it holds "
            "no values.",
        ),
        tag("noscript", tag("p", "Without JavaScript tables cannot be sorted.")),
    )


def _flags(rounds: Sequence[Facts]) -> list[tuple[str, str]]:
    """Return what weakens single rounds, by file; what all say is said once."""
    found: dict[str, list[str]] = {}
    for one in rounds:
        words = reservations(one.get("flags"))
        if one.get("complete") is False:
            words.append(f"truncated: {one.get('reason') or 'the walk did not end'}")
        for word in words:
            found.setdefault(word, []).append(str(one.get("file", "a round")))
    return [
        ("every round" if len(names) == len(rounds) > 1 else ", ".join(names[:3]), word)
        for word, names in found.items()
    ]


def _axis(rounds: Sequence[Facts]) -> Axis:
    moments = [r.get("created") for r in rounds]
    if all(map(_is_number, moments)) and moments == sorted(moments, key=float):  # type: ignore[arg-type]
        times = [float(m) for m in moments]  # type: ignore[arg-type]
        if times[-1] > times[0]:
            clocks = [_moment(t, "%H:%M:%S") for t in times]
            return Axis(times, (clocks[0], clocks[-1]))
    return Axis([*range(len(rounds))], ("round 1", f"round {len(rounds)}"))


def _moment(value: float, form: str = "%Y-%m-%d %H:%M:%S UTC") -> str:
    try:
        return time.strftime(form, time.gmtime(value))
    except (OverflowError, ValueError, OSError):
        return "unknown"


def _whole(value: float) -> str:
    return human_count(int(value))


def _is_number(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(float(value))  # type: ignore[arg-type]


def _digest(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"sha256-{digest}"
