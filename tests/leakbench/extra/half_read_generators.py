"""Cursors are read to the first match and kept open in a table."""

from collections.abc import Iterator

from load import serve


class Cursors:
    def __init__(self) -> None:
        self.open: dict[int, Iterator[str]] = {}


CURSORS = Cursors()


def rows(number: int) -> Iterator[str]:
    page = [f"row {number}.{row}" for row in range(30)]
    yield from page


def handle(number: int) -> None:
    cursor = rows(number)
    next(cursor)
    CURSORS.open[number] = cursor


serve(handle)
