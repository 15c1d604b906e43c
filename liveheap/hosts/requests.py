"""Requests as tasks: their name, and one label for each, whoever else gives one.

A path is the client's text: it holds numbers, names and, in some links, secrets. So a
name keeps of it only what looks like a word of the program's (`GET /users/*/orders`),
without which the names would be as many as the requests, too.
"""

from __future__ import annotations

import re
from contextlib import suppress

from liveheap import tasks

KIND = "request"
WEBSOCKET = "WS"
MOST_PARTS = 6
WORD = re.compile(r"[A-Za-z][a-z_]{0,23}(?:[-.][a-z_]{1,24}){0,3}|v\d{1,2}|")


def begin(method: object, path: object) -> tasks.Token | None:
    """Begin a request, unless one runs here already: two of our hooks may meet."""
    if not tasks.REGISTRY.is_on:
        return None
    with suppress(*tasks.OUR_ERRORS):
        if tasks.REGISTRY.find_here(KIND) is None:
            return tasks.begin(KIND, name(str(method), str(path)))
    return None


def end() -> None:
    """End the request that runs here."""
    tasks.end_here(KIND)


def name(method: str, path: str) -> str:
    """Return a name without data."""
    parts = path.partition("?")[0].split("/")
    kept = [part if WORD.fullmatch(part) else "*" for part in parts[: MOST_PARTS + 1]]
    if len(parts) > len(kept):
        kept.append("...")
    return f"{method[:16]} {'/'.join(kept)}"
