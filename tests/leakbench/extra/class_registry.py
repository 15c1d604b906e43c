"""A class-level registry: every instance enters itself, for a debug page."""

from typing import ClassVar

from load import serve


class Session:
    registry: ClassVar[dict[int, "Session"]] = {}

    def __init__(self, number: int) -> None:
        self.number = number
        self.basket = [f"item {number}.{item}" for item in range(10)]
        Session.registry[id(self)] = self


serve(Session)
