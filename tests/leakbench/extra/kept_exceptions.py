"""The last errors are kept for a status page, and with them every frame's locals."""

from load import serve


class PaymentFailed(Exception):
    pass


class ErrorLog:
    def __init__(self) -> None:
        self.recent: list[Exception] = []


ERRORS = ErrorLog()


def charge(number: int) -> None:
    basket = [f"article {number}.{article}" for article in range(200)]
    raise PaymentFailed(f"card {number}, {len(basket)} articles")


def handle(number: int) -> None:
    try:
        charge(number)
    except PaymentFailed as error:
        ERRORS.recent.append(error)


serve(handle, every_s=0.02)
