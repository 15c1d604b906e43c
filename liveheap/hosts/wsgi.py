"""WSGI: a middleware, for servers that have no hook of their own.

    app = liveheap.hosts.wsgi.Middleware(app)

gunicorn needs none. A request lasts until its body is closed; where the body is there
already, as a list or as a file that the server sends by itself, that is passed on as
it is, for servers look at its type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from liveheap import tasks
from liveheap.hosts import requests

Environ = dict[str, Any]
App = Callable[[Environ, Any], Iterable[bytes]]


class Middleware:
    """A WSGI application that labels what it passes on."""

    def __init__(self, app: App) -> None:
        self.app = app

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Serve one request."""
        token = requests.begin(environ.get("REQUEST_METHOD"))
        if token is None:
            return self.app(environ, start_response)
        try:
            body = self.app(environ, start_response)
        except BaseException:
            requests.end(token)
            raise
        wrapper = environ.get("wsgi.file_wrapper")
        is_file = isinstance(wrapper, type) and isinstance(body, wrapper)
        if is_file or isinstance(body, (list, tuple)):
            requests.end(token)
            return body
        return Body(body, token)


class Body:
    """A body that ends the request when it is closed."""

    def __init__(self, body: Iterable[bytes], token: tasks.Token) -> None:
        self._body, self._token = body, token

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        """Close the body itself, and end the request."""
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            requests.end(self._token)
