"""Requests: named without what is the client's, and labelled once each."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Iterable, Iterator
from typing import Any
from wsgiref.util import FileWrapper

import pytest

from liveheap import tasks
from liveheap.agent import native
from liveheap.hosts import asgi, requests, wsgi


@pytest.fixture(autouse=True)
def _registry() -> Iterator[None]:
    known = native.find()
    tasks.REGISTRY.switch_on(
        known.ident, native.original("_thread", "_local"), known.main_ident
    )
    yield
    assert tasks.running() == ()
    tasks.REGISTRY.switch_off()


def running() -> list[str]:
    return [task.name for task in tasks.running()]


@pytest.mark.parametrize(
    ("method", "name"),
    [("GET", "GET"), ("hunter2", "?"), ("get", "?"), (None, "?"), (b"GET", "?")],
)
def test_a_request_is_called_by_a_method_that_everybody_knows(method, name):
    requests.begin(method)
    assert running() == [name]
    requests.end_here()


def test_from_its_route_on_a_request_has_the_routes_template():
    requests.begin("GET")
    requests.take("/orders/<int:number>")
    assert running() == ["GET /orders/<int:number>"]
    requests.take(None)
    requests.take("orders/{number}")
    assert running() == ["GET /orders/{number}"]
    requests.end_here()
    requests.take("/too/late")
    assert tasks.done() == {"GET /orders/{number}": 1}


def test_a_route_found_on_another_thread_is_that_of_the_request():
    token = requests.begin("PUT")
    context = contextvars.copy_context()
    thread = threading.Thread(target=lambda: context.run(requests.take, "/orders"))
    thread.start()
    thread.join()
    assert running() == ["PUT /orders"]
    tasks.end(token)


@pytest.mark.parametrize("route", [None, b"/orders", 7, type("Text", (str,), {})("x")])
def test_what_is_no_text_is_no_route(route):
    requests.begin("GET")
    requests.take(route)
    assert running() == ["GET"]
    requests.end_here()


def test_a_route_without_a_request_names_nothing():
    requests.take("/orders")
    requests.begin("GET")
    requests.end_here()
    label = tasks.begin("task", "cleanup")
    requests.take("/orders")
    assert running() == ["cleanup"]
    tasks.end(label)


def test_requests_that_share_a_thread_are_not_mixed_up():
    routes = iter(["/one", None, "/three"])

    def app(*_: object) -> list[bytes]:
        requests.take(next(routes))
        return []

    for _ in range(3):
        wsgi.Middleware(app)({"REQUEST_METHOD": "GET"}, None)
    assert tasks.done() == {"GET /one": 1, "GET": 1, "GET /three": 1}


@pytest.mark.parametrize("end", [requests.end, lambda _: requests.end_here()])
def test_a_thread_that_has_served_a_request_keeps_nothing_of_it(end):
    token = requests.begin("GET")
    end(token)
    assert token not in contextvars.copy_context().values()


def test_requests_that_share_a_loop_are_not_mixed_up():
    async def look_up(route: str) -> None:
        requests.take(route)

    async def app(scope: Any, *_: object) -> None:
        await asyncio.create_task(look_up(scope["path"]))

    async def main() -> None:
        site = asgi.Middleware(app)
        scopes = [
            {"type": "http", "method": "GET", "path": each} for each in ("/one", "/two")
        ]
        await asyncio.gather(*(site(scope, None, None) for scope in scopes))

    asyncio.run(main())
    assert tasks.done() == {"GET /one": 1, "GET /two": 1}


def test_when_the_agent_has_stopped_no_request_is_renamed():
    token = requests.begin("GET")
    tasks.REGISTRY.switch_off()
    requests.take("/orders")
    assert token is not None
    assert token.name == "GET"


def test_a_request_that_runs_already_is_not_labelled_twice():
    token = requests.begin("GET")
    assert requests.begin("GET") is None
    requests.end_here()
    assert running() == []
    assert token is not None
    assert tasks.done() == {"GET": 1}


class Body:
    """What an application may return: it says when it is closed."""

    def __init__(self) -> None:
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        yield running()[0].encode()

    def close(self) -> None:
        self.closed = True


def call(body: Iterable[bytes], **environ: Any) -> Iterable[bytes]:
    """Serve one request through the middleware."""

    def app(_environ: dict, _start_response: object) -> Iterable[bytes]:
        assert running() == ["GET"]
        return body

    facts = {"REQUEST_METHOD": "GET", "PATH_INFO": "/orders/1", **environ}
    return wsgi.Middleware(app)(facts, None)


def test_a_wsgi_request_lasts_until_its_body_is_closed():
    inner = Body()
    body: Any = call(inner)
    assert list(body) == [b"GET"]
    assert running() == ["GET"]
    body.close()
    assert inner.closed
    assert running() == []


def test_a_wsgi_body_that_is_there_already_is_passed_on_as_it_is(tmp_path):
    ready = [b"ready"]
    assert call(ready) is ready
    assert running() == []
    (tmp_path / "file").write_bytes(b"file")
    with (tmp_path / "file").open("rb") as file:
        wrapped = FileWrapper(file)
        assert call(wrapped, **{"wsgi.file_wrapper": FileWrapper}) is wrapped
    assert running() == []


def test_a_wsgi_application_that_fails_ends_its_request():
    def app(*_: object) -> list[bytes]:
        raise ValueError("no orders")

    with pytest.raises(ValueError, match="no orders"):
        wsgi.Middleware(app)({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, None)
    assert tasks.done() == {"GET": 1}


@pytest.mark.parametrize(
    ("scope", "name"),
    [
        ({"type": "http", "method": "PUT", "path": "/orders/7"}, ["PUT"]),
        ({"type": "websocket", "path": "/events"}, ["WS"]),
        ({"type": "lifespan"}, []),
    ],
)
def test_an_asgi_connection_is_labelled_and_the_servers_lifespan_is_not(scope, name):
    seen = []

    async def app(*_: object) -> None:
        seen.append(running())
        raise ValueError("no orders")

    async def main() -> None:
        with pytest.raises(ValueError, match="no orders"):
            await asgi.Middleware(app)(scope, None, None)
        assert running() == []

    asyncio.run(main())
    assert seen == [name]


def test_without_an_agent_both_pass_on_what_they_get():
    tasks.REGISTRY.switch_off()
    body = Body()
    middleware = wsgi.Middleware(lambda *_: body)
    assert middleware({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, None) is body

    async def app(*_: object) -> None:
        assert running() == []

    asyncio.run(asgi.Middleware(app)({"type": "http", "path": "/"}, None, None))
