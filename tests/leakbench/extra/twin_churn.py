"""Innocent: a table of fixed size, all rows replaced, and a varying backlog."""

import random

from load import serve


class Quote:
    def __init__(self, number: int) -> None:
        self.price = {"bid": number, "ask": number + 1}


class Book:
    def __init__(self) -> None:
        self.quotes: dict[int, Quote] = {}
        self.backlog: list[Quote] = []


book = Book()
chance = random.Random(7)


def handle(number: int) -> None:
    for turn in range(20):
        book.quotes[(number * 20 + turn) % 2000] = Quote(number)
    book.backlog = [Quote(number) for _ in range(chance.randrange(50))]


serve(handle)
