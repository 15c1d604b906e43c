"""Innocent: a table is loaded in five steps within the first rounds."""

from load import serve


class Price:
    def __init__(self, number: int) -> None:
        self.article = f"article {number}"


PRICES: dict[int, Price] = {}


def handle(number: int) -> None:
    if number % 60 == 0 and len(PRICES) < 20_000:
        start = len(PRICES)
        PRICES.update({key: Price(key) for key in range(start, start + 4000)})


serve(handle)
