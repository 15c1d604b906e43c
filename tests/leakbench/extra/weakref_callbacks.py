"""Weak references with callbacks, kept for objects that die at once."""

import weakref

from load import serve


class Request:
    def __init__(self, number: int) -> None:
        self.number = number


class Watcher:
    def __init__(self) -> None:
        self.references = []

    def watch(self, request: Request) -> None:
        name = f"request {request.number}"
        self.references.append(weakref.ref(request, lambda _gone: self.done(name)))

    def done(self, name: str) -> None:
        self.last = name


WATCHER = Watcher()
serve(lambda number: WATCHER.watch(Request(number)))
