"""ASGI: uvicorn, without code; and a middleware for other servers.

    app = liveheap.hosts.asgi.Middleware(app)

uvicorn runs every request, and every connection of a websocket, as `run_asgi` in a
task of its own, and lets no exception of the application's out of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from types import ModuleType
from typing import Any

from liveheap import tasks
from liveheap.hosts import requests
from liveheap.hosts.wrapping import Undo, classes_with, label_coroutine, undo_all

METHOD = "run_asgi"
UVICORN = """
    http.h11_impl http.httptools_impl http.zttp_impl http.zttp_h2_impl
    websockets.websockets_impl websockets.websockets_sansio_impl
    websockets.wsproto_impl
"""

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]


def begin(cycle: Any, *_: Any) -> tasks.Token | None:
    """Begin what uvicorn is about to run."""
    return begin_scope(getattr(cycle, "scope", None) or {})


def begin_scope(scope: Scope) -> tasks.Token | None:
    """Begin a request or a websocket; nothing for the server's lifespan."""
    if scope.get("type") not in ("http", "websocket"):
        return None
    return requests.begin(scope.get("method", requests.WEBSOCKET))


def hook(protocol: ModuleType) -> Undo:
    """Wrap the protocol's way into the application."""
    return undo_all(
        label_coroutine(owner, METHOD, begin)
        for owner in classes_with(protocol, METHOD)
    )


class Middleware:
    """An ASGI application that labels what it passes on."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Serve one connection."""
        token = begin_scope(scope)
        try:
            await self.app(scope, receive, send)
        finally:
            requests.end(token)


HOOKS = {f"uvicorn.protocols.{name}": hook for name in UVICORN.split()}
