"""Innocent: weak caches whose values live as long as a bounded window of requests."""

import collections
import weakref

from load import serve


class Image:
    def __init__(self, number: int) -> None:
        self.number = number
        self.tiles = [bytes(50) for _ in range(5)]


CACHE: weakref.WeakValueDictionary[int, Image] = weakref.WeakValueDictionary()
WINDOW: collections.deque[Image] = collections.deque(maxlen=100)


def handle(number: int) -> None:
    image = Image(number)
    CACHE[number] = image
    WINDOW.append(image)


serve(handle)
