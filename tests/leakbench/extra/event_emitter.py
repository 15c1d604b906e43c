"""Each request subscribes a closure to a bus, and its response stays in the cell."""

from collections import defaultdict
from collections.abc import Callable

from load import serve


class Response:
    def __init__(self, number: int) -> None:
        self.number = number
        self.body = bytes(1000)


class Bus:
    def __init__(self) -> None:
        self.listeners: dict[str, list[Callable[[], object]]] = defaultdict(list)


BUS = Bus()


def handle(number: int) -> None:
    response = Response(number)
    BUS.listeners["shutdown"].append(lambda: response.number)


serve(handle)
