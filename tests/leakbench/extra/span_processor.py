"""A batching exporter whose worker died: finished spans queue up behind it."""

import time

from load import serve


class Span:
    __slots__ = ("attributes", "begun", "ended", "name", "parent")

    def __init__(self, name: str, parent: "Span | None") -> None:
        self.name, self.parent = name, parent
        self.attributes = {"http.method": "GET", "http.route": name}
        self.begun = time.monotonic()
        self.ended = 0.0


class BatchProcessor:
    def __init__(self) -> None:
        self.pending: list[Span] = []

    def on_end(self, span: Span) -> None:
        span.ended = time.monotonic()
        self.pending.append(span)


class Provider:
    def __init__(self) -> None:
        self.processors = (BatchProcessor(),)


PROVIDER = Provider()


def handle(number: int) -> None:
    root = Span(f"/orders/{number}", None)
    for part in ("auth", "query", "render"):
        child = Span(part, root)
        PROVIDER.processors[0].on_end(child)
    PROVIDER.processors[0].on_end(root)


serve(handle)
