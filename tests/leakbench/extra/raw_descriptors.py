"""A descriptor per request is opened in a helper and forgotten: an int is no owner."""

import os

from load import serve


def handle(number: int) -> None:
    descriptor = os.open("/dev/null", os.O_RDONLY)
    os.read(descriptor, number % 10)


serve(handle, every_s=0.05)
