"""Requests as tasks: their name, and one label for each, whoever else gives one.

What a client sends is data, its path as well: it holds names of people and, in some
links, secrets that look like words. So a request is called by its method until the
framework has found its route; from then on it has the route's template, which stands in
the program's text (`GET /orders/<int:number>`; `hosts/routes.py`). Where nobody tells
the route it keeps the method, and of methods only those that everybody knows.

A framework may look for the route in another asyncio task or thread than the one that
the server has labelled. A ContextVar goes with the request there; all that hangs on it
is the label.
"""

from __future__ import annotations

from contextlib import suppress
from contextvars import ContextVar

from liveheap import tasks

KIND = "request"
WEBSOCKET = "WS"
UNKNOWN = "?"
METHODS = frozenset(
    (
        *("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
        *("OPTIONS", "CONNECT", "TRACE", WEBSOCKET),
    )
)

HERE: ContextVar[tasks.Token | None] = ContextVar("liveheap.request", default=None)


def begin(method: object) -> tasks.Token | None:
    """Begin a request, unless one runs here already: two of our hooks may meet."""
    if not tasks.REGISTRY.is_on:
        return None
    with suppress(*tasks.OUR_ERRORS):
        if tasks.REGISTRY.find_here(KIND) is None:
            known = isinstance(method, str) and method in METHODS
            token = tasks.begin(KIND, str(method) if known else UNKNOWN)
            HERE.set(token)
            return token
    return None


def end(token: tasks.Token | None) -> None:
    """End a request; the context of a thread that serves many keeps none of it."""
    tasks.end(token)
    if token is not None and HERE.get() is token:
        HERE.set(None)


def end_here() -> None:
    """End the request that runs here."""
    tasks.end_here(KIND)
    HERE.set(None)


def take(route: object) -> None:
    """Say which route the request here takes: the template, without what fills it."""
    token = HERE.get()
    if token is not None and type(route) is str:
        method = token.name.partition(" ")[0]
        tasks.rename(token, f"{method} /{route.removeprefix('/')}")
