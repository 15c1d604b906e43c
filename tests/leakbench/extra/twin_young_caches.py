"""Innocent: lru_caches with a bound, filled slowly by a young worker."""

import functools
from urllib.parse import urlsplit

from load import serve


@functools.lru_cache(maxsize=5000)
def locale_of(header: str) -> tuple[str, ...]:
    return tuple(header.split(";"))


def handle(number: int) -> None:
    if number % 5 == 0:
        urlsplit(f"https://shop.example.org/products/{number}")
        locale_of(f"de-DE;q=0.{number};en")


serve(handle)
