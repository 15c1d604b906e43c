"""gunicorn: the server hooks `pre_request` and `post_request`, around the host's own.

They are settings, and every worker asks for them at each request: so the answer is
changed in the settings' classes, and `gunicorn.conf.py` stays what it is. The worker
classes are told by their modules, because the one for ASGI takes a faster way where it
finds that nobody has set these hooks; there the handlers are wrapped instead.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from liveheap import tasks
from liveheap.hosts import requests
from liveheap.hosts.wrapping import (
    Undo,
    classes_with,
    label_coroutine,
    replace,
    undo_all,
)

CONFIG = "gunicorn.config"
HANDLERS = ("_handle_http_request", "_handle_http2_request", "_handle_websocket")

Get = Callable[[Any], Any]


def around_pre_request(original: Get) -> Get:
    """Return `PreRequest.get`, whose answer begins a request."""

    def get(setting: Any) -> Any:
        theirs = original(setting)

        def pre_request(worker: Any, request: Any) -> Any:
            requests.begin(getattr(request, "method", None))
            return theirs(worker, request)

        return pre_request

    return get


def around_post_request(original: Get) -> Get:
    """Return `PostRequest.get`, whose answer ends the request."""

    def get(setting: Any) -> Any:
        theirs = original(setting)

        def post_request(*args: Any) -> Any:
            requests.end_here()
            return theirs(*args)

        return post_request

    return get


def hook_wsgi(_worker: ModuleType) -> Undo:
    """Change what the settings answer, once."""
    config = sys.modules[CONFIG]
    if "get" in config.PreRequest.__dict__:
        return undo_all([])
    hooks = (
        (config.PreRequest, around_pre_request),
        (config.PostRequest, around_post_request),
    )
    return undo_all(replace(owner, "get", make) for owner, make in hooks)


def begin_asgi(_protocol: Any, request: Any = None, *_: Any) -> tasks.Token | None:
    """Begin a request of the ASGI worker."""
    return requests.begin(getattr(request, "method", None))


def hook_asgi(protocol: ModuleType) -> Undo:
    """Wrap the handlers there are."""
    return undo_all(
        label_coroutine(owner, name, begin_asgi)
        for name in HANDLERS
        for owner in classes_with(protocol, name)
    )


HOOKS = {
    "gunicorn.workers.sync": hook_wsgi,
    "gunicorn.workers.base_async": hook_wsgi,
    "gunicorn.workers.gthread": hook_wsgi,
    "gunicorn.asgi.protocol": hook_asgi,
}
