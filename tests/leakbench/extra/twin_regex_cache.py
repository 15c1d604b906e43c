"""Innocent: patterns fill the cache of `re`, which forgets the oldest at its bound."""

import re

from load import serve


def handle(number: int) -> None:
    for turn in range(3):
        re.search(f"user-{number}-{turn}[a-z]+", "user-1-2abc")


serve(handle)
