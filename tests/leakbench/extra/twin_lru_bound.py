"""Innocent: a cache at its bound turns over with every request."""

import functools

from load import serve


class Page:
    def __init__(self, number: int) -> None:
        self.number = number
        self.body = [f"paragraph {number}.{part}" for part in range(10)]


@functools.lru_cache(maxsize=200)
def page(number: int) -> Page:
    return Page(number)


for first in range(300):
    page(-first)
serve(page)
