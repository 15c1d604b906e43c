"""HTML and SVG from Python calls, safe because of the types.

A child of `tag` that is a plain text is escaped, one that is `Markup` is not, and only
this module makes Markup. Escaped means twice: first `visible` spells out what a reader
could not see or what would move other text about (controls, bidi marks, lone halves of
surrogate pairs), then the characters that mean something in markup become entities. So
what is made here is well-formed XML too, whatever a worker calls its types.

No template engine: a page of a dozen parts is a dozen functions, and what a function
returns is checked by mypy.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from importlib.resources import files
from typing import TypeAlias

from liveheap_client.render.escape import visible

LONGEST = 1000
_VOID = frozenset({"meta", "link", "br", "hr", "input", "img", "wbr"})
_IN_SCRIPT = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


Child: TypeAlias = "str | Iterable[Child] | None"
"""Text to escape, Markup to take as it is, several of these, or nothing."""


def escaped(text: str) -> Markup:
    """Return a text as markup that shows it, every character of it."""
    return Markup(html.escape(visible(text, longest=LONGEST)))


def joined(children: Iterable[Child]) -> Markup:
    """Return children one after the other."""
    return Markup("".join(_markup(child) for child in children))


def lined(texts: Iterable[str]) -> Markup:
    """Return texts as lines, for an element that keeps them."""
    return Markup("\n".join(map(escaped, texts)))


def tag(
    name: str, /, *children: Child, **attributes: str | float | bool | None
) -> Markup:
    """Return an element.

    Attributes: `class_` and `for_` lose their underscore, others become hyphens; None
    and False leave one out, True gives it no value.
    """
    shown = "".join(map(_attribute, attributes.items()))
    if name in _VOID:
        return Markup(f"<{name}{shown}>")
    return Markup(f"<{name}{shown}>{joined(children)}</{name}>")


def raw(text: str) -> Markup:
    """Return a text of our own package (a style sheet, a script) as markup."""
    return Markup(text)


def asset(name: str) -> str:
    """Return a file of this package's own: a style sheet, a script."""
    return files(__package__).joinpath(f"assets/{name}").read_text(encoding="utf-8")


def data_script(name: str, data: object) -> Markup:
    """Return an element that holds data for the page's script, and cannot be left.

    Every non-ASCII character is an escape of JSON, and so are `<`, `>` and `&`.
    """
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    safe = Markup(text.translate(_IN_SCRIPT))
    return tag("script", safe, type="application/json", id=name)


def number(value: float) -> str:
    """Return a coordinate: two decimals at most, none if whole, never `-0`."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _markup(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, str):
        return escaped(child)
    return joined(child)


def _attribute(item: tuple[str, str | float | bool | None]) -> str:
    name, value = item
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    text = value if isinstance(value, str) else number(value)
    return f' {name}="{escaped(text)}"'
