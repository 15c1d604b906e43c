"""The baggage of a request is added to what the context had, and never reset."""

import contextvars

from load import serve

baggage: contextvars.ContextVar[dict[int, bytes]] = contextvars.ContextVar("baggage")
baggage.set({})


def handle(number: int) -> None:
    baggage.set({**baggage.get(), number: bytes(300)})


serve(handle, every_s=0.02)
