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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from liveheap_client.report import sections
from liveheap_client.report.facts import axis, facts, rounds_table, weaknesses, worker
from liveheap_client.report.headline import Headline, headline
from liveheap_client.report.markup import Markup, asset, raw, tag

LONG_SENTENCE = 200

Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Material:
    """What a page is made of.

    `rounds` are headers and trailers, oldest first, with the `file` each came from;
    `growth` what the rounds tell, None of one round. Of the newest: its `types`,
    `holdings`, the objects that retain most, `backrefs` trees by a suspect's path.
    """

    rounds: Sequence[Facts]
    growth: Facts | None
    types: Sequence[tuple[str, int, int]]
    holdings: Facts
    retained: Sequence[tuple[str, str, str, int, int]] = ()
    backrefs: Mapping[str, Facts] = field(default_factory=dict)
    tool: str = "liveheap"


def page(material: Material) -> str:
    """Return the page as HTML."""
    top = headline(material.growth, material.holdings)
    return document(
        f"{top.word}: {worker(material.rounds)} - liveheap report",
        _banner(material, top),
        tag("main", _sections(material)),
        _foot(material),
    )


def document(title: str, *body: Markup) -> str:
    """Return a whole HTML document with our style and script, and no way out of it."""
    style = asset("picture.css") + asset("page.css")
    script = asset("page.js")
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
        tag("title", title),
        tag("style", raw(style)),
    )
    whole = tag("html", head, tag("body", body, tag("script", raw(script))), lang="en")
    return f"<!doctype html>\n{whole}\n"


def _digest(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"sha256-{digest}"


def _banner(material: Material, top: Headline) -> Markup:
    growth = material.growth
    notes = [*growth["notes"]] if growth else []
    notes += weaknesses(material.rounds)
    return tag(
        "header",
        tag("p", "liveheap report", class_="brand"),
        tag("p", top.word, class_=f"word {top.mood}"),
        tag("h1", top.sentence, class_=_size_of(top.sentence)),
        tag("p", top.more, class_="more"),
        facts(material.rounds),
        tag("ul", [tag("li", note) for note in notes], class_="notes")
        if notes
        else None,
        _conclusion(growth) if growth else None,
    )


def _size_of(sentence: str) -> str | None:
    return "long" if len(sentence) > LONG_SENTENCE else None


def _conclusion(growth: Facts) -> Markup:
    """Return what was ruled out, and what to type next."""
    lines = [("Ruled out", tag("span", line)) for line in growth["ruled_out"]]
    lines.append(("Next", tag("code", growth["next"])))
    items = [
        tag("div", tag("dt", word if n == 0 or word == "Next" else ""), tag("dd", line))
        for n, (word, line) in enumerate(lines)
    ]
    return tag("dl", items, class_="conclusion")


def _sections(material: Material) -> list[Markup]:
    growth = material.growth
    marked = {s["path"] for s in growth["suspects"]} if growth else set()
    parts = [
        sections.consists(material.holdings, marked),
        sections.retaining(material.retained, material.holdings["bytes"]),
        sections.types(material.types, growth),
        tag("section", tag("h2", "Rounds"), rounds_table(material.rounds), id="rounds"),
    ]
    if growth is not None:
        places = axis(material.rounds, per=growth["per"])
        parts.insert(0, sections.growing(growth, material.backrefs, places))
    return parts


def _foot(material: Material) -> Markup:
    n_rounds = len(material.rounds)
    files = "one snapshot" if n_rounds == 1 else f"{n_rounds} snapshots"
    return tag(
        "footer",
        tag(
            "p",
            f"Made by {material.tool} from {files}. This page asks no network for "
            "anything. It names types, attributes and functions; it holds no values.",
        ),
        tag("noscript", tag("p", "Without JavaScript tables cannot be sorted.")),
    )
