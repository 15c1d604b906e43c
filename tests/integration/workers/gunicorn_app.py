"""A WSGI application for gunicorn's gevent worker: some objects, some waiting.

BALLAST (environment) objects are alive in each worker. An answer is the worker's pid.
Says `PID ready` when a worker has loaded it.
"""

import os
from collections.abc import Callable, Iterable

import gevent
import stage


class Order:
    def __init__(self, number: int) -> None:
        self.number = number
        self.lines = [str(number), {"number": number, "name": f"order {number}"}]


ORDERS = {number: Order(number) for number in range(int(os.environ["BALLAST"]))}


def app(environ: dict[str, object], start_response: Callable) -> Iterable[bytes]:
    gevent.sleep(0.001)
    body = b"%d" % os.getpid()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


stage.start_agent()
stage.ready(os.getpid())
