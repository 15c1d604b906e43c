"""A WSGI application: a request to /pack/GATE waits for that gate."""

from collections.abc import Callable, Iterable

import parcels


def application(environ: dict[str, str], start_response: Callable) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    parcels.pack("request", "GET", None, path.rpartition("/")[2])
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
