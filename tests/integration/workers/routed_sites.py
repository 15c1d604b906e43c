"""Sites of real frameworks, each asked for one order and for a page that it lacks.

A first line gives a word of the clients', which is part of every path, query and
header. The requests for orders hold until the next line. The third one stops the
agent. WSGI is called as a server calls it, on threads; uvicorn serves ASGI, but for a
websocket, which needs one more package there.
"""

import asyncio
import contextlib
import logging
import os
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from wsgiref.util import setup_testing_defaults

import bottle
import django
import falcon
import fastapi
import flask
import stage
import starlette.applications
import starlette.middleware.base
import starlette.responses
import starlette.routing
import starlette.websockets
import uvicorn
from django import http, urls
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.base import BaseHandler
from django.core.handlers.wsgi import WSGIHandler

import liveheap
from liveheap.hosts import asgi, wsgi

finish = threading.Event()
holding = threading.Semaphore(0)


def hold() -> str:
    holding.release()
    finish.wait()
    return "order"


async def hold_async() -> str:
    holding.release()
    await asyncio.to_thread(finish.wait)
    return "order"


def flask_site() -> Callable:
    orders = flask.Blueprint("orders", __name__, url_prefix="/shops/<name>")
    orders.get("/orders/<int:number>")(lambda name, number: hold())
    site = flask.Flask(__name__)
    site.register_blueprint(orders)
    return site


def django_site() -> None:
    def view(request: object, name: str, number: int) -> http.HttpResponse:
        return http.HttpResponse(hold())

    orders = [urls.path("orders/<int:number>", view)]
    routes = (urls.path("shops/<slug:name>/", urls.include(orders)),)
    settings.configure(ROOT_URLCONF=routes, ALLOWED_HOSTS=["*"], LOGGING_CONFIG=None)
    django.setup()


def falcon_site() -> Callable:
    class Order:
        def on_get(self, request: object, response: object, **params: object) -> None:
            response.text = hold()

    site = falcon.App()
    site.add_route("/shops/{name}/orders/{number:int}", Order())
    return site


def bottle_site() -> Callable:
    site = bottle.Bottle()
    site.get("/shops/<name>/orders/<number:int>")(lambda name, number: hold())
    return site


def starlette_site() -> Callable:
    async def view(request: object) -> starlette.responses.Response:
        return starlette.responses.PlainTextResponse(await hold_async())

    async def middleware(request: object, call_next: Callable) -> object:
        return await call_next(request)

    async def talk(websocket: starlette.websockets.WebSocket) -> None:
        await websocket.accept()
        await hold_async()

    orders = [
        starlette.routing.Route("/orders/new", view),
        starlette.routing.Route("/orders/{number:int}", view),
        starlette.routing.WebSocketRoute("/orders/{number}/talk", talk),
    ]
    site = starlette.applications.Starlette(
        routes=[starlette.routing.Mount("/shops/{name}", routes=orders)]
    )
    site.add_middleware(
        starlette.middleware.base.BaseHTTPMiddleware, dispatch=middleware
    )
    return site


def fastapi_site() -> Callable:
    orders = fastapi.APIRouter(prefix="/orders")
    orders.get("/{number}")(lambda name, number: hold())
    shops = fastapi.APIRouter(prefix="/shops/{name}")
    shops.include_router(orders)
    site = fastapi.FastAPI()
    site.include_router(shops)
    return site


def ask_wsgi(site: Callable, path: str, word: str) -> None:
    """Ask as a server does, and close what comes."""
    environ = {"PATH_INFO": path, "QUERY_STRING": f"key={word}", "HTTP_X_KEY": word}
    setup_testing_defaults(environ)
    body = wsgi.Middleware(site)(environ, lambda *_: None)
    list(body)
    if hasattr(body, "close"):
        body.close()


async def ask_asgi(port: int, path: str, word: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"GET {path}?key={word} HTTP/1.0\r\nHost: x\r\nX-Key: {word}\r\n\r\n"
    writer.write(head.encode())
    await reader.read()
    writer.close()


async def talk(site: Callable, path: str, word: str) -> None:
    async def receive() -> dict:
        return {"type": "websocket.connect"}

    async def send(message: dict) -> None:
        pass

    headers = [(b"x-key", word.encode())]
    scope = {"type": "websocket", "path": path, "query_string": b"", "headers": headers}
    await asgi.Middleware(site)(scope, receive, send)


@contextlib.asynccontextmanager
async def serving(app: Callable) -> AsyncIterator[int]:
    config = uvicorn.Config(app, port=0, log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    running = asyncio.ensure_future(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await running


METHODS = (
    (flask.ctx.RequestContext, "match_request"),
    (http.HttpRequest, "resolver_match"),
    (starlette.routing.Route, "matches"),
    (starlette.routing.WebSocketRoute, "matches"),
    (starlette.routing.Mount, "matches"),
    (falcon.App, "_get_responder"),
    (bottle.Router, "match"),
)


def methods() -> list[object]:
    return [vars(owner).get(name) for owner, name in METHODS]


def is_seen_in_an_error() -> bool:
    """Whether a line of ours stands in what Django says of a page that it lacks."""
    request = http.HttpRequest()
    request.path_info = "/nowhere"
    try:
        BaseHandler().resolve_request(request)
    except http.Http404 as exc:
        return "/liveheap/hosts/" in "".join(traceback.format_exception(exc))
    raise AssertionError("there is such a page")


async def line() -> str:
    loop = asyncio.get_running_loop()
    return (await loop.run_in_executor(None, sys.stdin.readline)).strip()


async def main() -> None:
    logging.disable(logging.CRITICAL)
    before = methods()
    stage.start_agent()
    hooked = [now is not was for was, now in zip(before, methods(), strict=True)]
    django_site()
    called = [flask_site(), WSGIHandler(), falcon_site(), bottle_site()]
    served = [ASGIHandler(), starlette_site(), fastapi_site()]
    async with contextlib.AsyncExitStack() as stack:
        ports = [await stack.enter_async_context(serving(site)) for site in served]
        stage.ready(all(hooked), not is_seen_in_an_error())
        word = await line()

        def ask(path: str) -> list[Awaitable]:
            return [
                *(asyncio.to_thread(ask_wsgi, site, path, word) for site in called),
                *(ask_asgi(port, path, word) for port in ports),
            ]

        await asyncio.gather(*ask(f"/{word}/nowhere"))
        orders = ask(f"/shops/{word}/orders/7")
        orders.append(talk(served[1], f"/shops/{word}/orders/7/talk", word))
        answers = asyncio.gather(*orders)
        await asyncio.to_thread(lambda: [holding.acquire() for _ in orders])
        stage.ready()
        await line()
        finish.set()
        await answers
        stage.ready()
        await line()
        liveheap.stop()
        stage.ready(methods() == before)
        await line()
        os._exit(0)  # uvicorn itself takes its time


asyncio.run(main())
