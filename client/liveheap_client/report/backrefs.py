"""The picture of a type's referrers as a page of its own, with the same as a list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from liveheap_client.quantities import human_count
from liveheap_client.render import backrefs
from liveheap_client.render.table import Look
from liveheap_client.report.markup import lined, tag
from liveheap_client.report.page import document
from liveheap_client.report.picture import picture


def backrefs_page(tree: Mapping[str, Any], *, tool: str) -> str:
    """Return the page of a tree of referrers, given in its JSON form."""
    count = int(tree["count"])
    objects = "One object" if count == 1 else f"{human_count(count)} objects"
    lines = backrefs.lines(tree, look=Look(human=True))
    return document(
        f"{tree['label']}: liveheap backrefs",
        tag(
            "header",
            tag("p", "liveheap backrefs", class_="brand"),
            tag("h1", tree["label"], class_="below"),
            tag("p", f"{objects}; who refers to them, from the roots on the left."),
        ),
        tag(
            "main",
            tag(
                "div",
                picture(tree),
                class_="wide large",
                role="region",
                aria_label="Who refers to them",
                tabindex="0",
            ),
            tag(
                "details",
                tag("summary", "The same as a list"),
                tag("pre", lined(lines)),
                class_="list",
            ),
        ),
        tag("footer", tag("p", f"Made by {tool}. This page asks no network.")),
    )
