"""Which route a request takes: told by Flask, Django, Starlette, Falcon and Bottle.

Each is asked at the method that looks for the route: what that returns, or leaves in
the request, holds the template that the program wrote. What views raise never passes
through it. Where there is no route that of Django raises an error that its log may
show, so there the request's attribute tells.

Starlette's routers ask route after route until one matches in full. A mounted
application has routers of its own, which know nothing of where it is mounted: so each
mount leaves its template in the scope for them.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from types import ModuleType
from typing import Any

from liveheap.hosts.requests import take
from liveheap.hosts.wrapping import Undo, hear, hear_set, undo_all

MOUNT = "liveheap.mount"
FULL = "FULL"

Scope = MutableMapping[str, Any]
Hook = Callable[[ModuleType], Undo]


def flask(_found: None, context: Any) -> None:
    """Be told that Flask has matched a request."""
    rule = context.request.url_rule
    if rule is not None:
        take(rule.rule)


def django(match: Any) -> None:
    """Be told what a request of Django's is resolved to: at first None."""
    if match is not None:
        take(match.route)


def hook_django(module: ModuleType) -> Undo:
    """Be told as the handler notes it in the request."""
    return hear_set(module.HttpRequest, "resolver_match", django)


def starlette(found: tuple[Any, Scope], route: Any, scope: Scope) -> None:
    """Be told whether a route of Starlette's matches."""
    match, inner = found
    if inner and match.name == FULL and route.path:
        take(scope.get(MOUNT, "") + route.path)


def mount(found: tuple[Any, Scope], mounted: Any, scope: Scope) -> None:
    """Be told whether an application that is mounted matches."""
    match, inner = found
    if inner and match.name == FULL:
        before = scope.get(MOUNT, "")
        inner[MOUNT] = before + mounted.path
        take(before + mounted.path_format)


def falcon(found: tuple[Any, ...], *_: Any) -> None:
    """Be told which responder Falcon has found, with the template in the last place."""
    take(found[-1])


def bottle(found: tuple[Any, Any], *_: Any) -> None:
    """Be told which route Bottle has found."""
    take(found[0].rule)


def at(method: str, **tells: Callable[..., None]) -> Hook:
    """Return a hook for a method of those of the named classes that a module has."""

    def hook(module: ModuleType) -> Undo:
        return undo_all(
            hear(owner, method, tell)
            for name, tell in tells.items()
            if method in vars(owner := vars(module).get(name, object))
        )

    return hook


HOOKS = {
    "flask.ctx": at("match_request", RequestContext=flask, AppContext=flask),
    "django.http.request": hook_django,
    "starlette.routing": at(
        "matches", Route=starlette, WebSocketRoute=starlette, Mount=mount
    ),
    # A route of a router that was included into another one.
    "fastapi.routing": at("matches", _EffectiveRouteContext=starlette),
    "falcon.app": at("_get_responder", App=falcon),
    "bottle": at("match", Router=bottle),
}
