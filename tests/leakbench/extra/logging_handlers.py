"""Every request configures its logger again, and so adds a handler to it."""

import io
import logging

from load import serve


def handle(number: int) -> None:
    audit = logging.getLogger("shop.audit")
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    audit.addHandler(handler)
    if number % 100 == 0:
        audit.warning("request %d", number)


serve(handle, every_s=0.02)
