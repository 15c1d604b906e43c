"""What the last name of a text may become. Nothing is computed for it, not even `h`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from liveheap.clone.expressions import HEAPY, OBJGRAPH, ROOTS, SESSION

MOST = 200
LAST = re.compile(r"(?P<owner>[\w.\[\]():'\"]*\.)?(?P<typed>\w*)$")


def expression(text: str, names: Mapping[str, Any]) -> list[str]:
    """Return what the last name of an expression may become."""
    found = LAST.search(text)
    if found is None:
        return []
    owner, typed = found["owner"] or "", found["typed"]
    if not owner:
        table = {*ROOTS, *names}
    elif owner == "objgraph.":
        table = set(OBJGRAPH)
    elif owner == "hp.":
        table = set(SESSION)
    else:
        table = set(HEAPY)
    return sorted(name for name in table if name.startswith(typed))


def python(text: str, names: dict[str, Any]) -> list[str]:
    """Return what the last name of Python code may become."""
    from rlcompleter import Completer  # noqa: PLC0415 -- in the copy only

    found = LAST.search(text)
    word = found.group() if found else ""
    root = word.partition(".")[0]
    if root in ("h", "hp", "objgraph") and root not in names:
        return expression(text, {})
    completer = Completer({**dict.fromkeys(ROOTS), **names})
    words: list[str] = []
    while len(words) < MOST and (one := completer.complete(word, len(words))):
        words.append(one.rpartition(".")[2].rstrip("( "))
    return words
