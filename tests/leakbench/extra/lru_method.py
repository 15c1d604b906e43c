"""A cache on a method without a bound: its keys hold every instance."""

import functools

from load import serve


class Invoice:
    def __init__(self, number: int) -> None:
        self.number = number
        self.lines = [f"line {number}.{line}" for line in range(20)]

    @functools.cache  # noqa: B019
    def total(self) -> int:
        return sum(len(line) for line in self.lines)


serve(lambda number: Invoice(number).total())
