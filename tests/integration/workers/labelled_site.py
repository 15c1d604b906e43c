"""A WSGI site: eight requests hold until a ninth comes, and every second one fails."""

import os
import threading

import stage

COUNT = 8
holding: list[str] = []
finish = threading.Event()


def app(environ: dict, start_response: object) -> list[bytes]:
    path = environ["PATH_INFO"]
    if path == "/finish":
        finish.set()
    else:
        holding.append(path)
        if len(holding) == COUNT:
            stage.ready(os.getpid())
        finish.wait()
        if int(path.rpartition("/")[2]) % 2:
            raise ValueError(path)
    start_response("204 No Content", [])
    return [b""]
