"""One leak at a time, or an innocent that looks like one; driven by standard input.

`start NAME` makes what NAME needs and warms it up, `step` lets it do what a round of
requests would, `stop` drops it. After each line it says `ready`. A step of a leak keeps
ROUND objects more, of a type named after it.
"""

import ctypes
import gc
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from itertools import count, islice
from typing import Any

import greenlet
import stage

ROUND = 50


class Payload:
    def __init__(self, number: int) -> None:
        self.number = number
        self.data = bytearray(300 + number % 7)


def made(name: str) -> Callable[[int], Any]:
    """Return a class of its own for each leak."""
    return type(name, (Payload,), {"__module__": "__main__"})


class Holder:
    """What module globals hold: here it is one namespace that can be emptied."""


APP = Holder()
NUMBERS = count()


def numbers() -> Iterator[int]:
    return islice(NUMBERS, ROUND)


def cache_by_key() -> Iterator[None]:
    kind, APP.results = made("ByKey"), {}
    while True:
        APP.results.update((f"customer {n}", kind(n)) for n in numbers())
        yield


def closure() -> Iterator[None]:
    kind = made("InCell")

    def counter() -> Callable[[int], None]:
        history: list[Any] = []

        def add(number: int) -> None:
            history.append(kind(number))

        return add

    APP.count = counter()
    while True:
        for n in numbers():
            APP.count(n)
        yield


def traceback() -> Iterator[None]:
    kind, APP.failures = made("InTraceback"), []

    def fail(number: int) -> None:
        scratch = kind(number)
        raise ValueError(scratch.number)

    while True:
        for n in numbers():
            try:
                fail(n)
            except ValueError as error:
                APP.failures.append(error)
        yield


def greenlet_local() -> Iterator[None]:
    kind, hub = made("InGreenlet"), greenlet.getcurrent()
    waiting = deque()

    def ask_partner(number: int) -> None:
        request = kind(number)
        hub.switch()
        del request

    APP.hub = lambda: waiting  # the scheduler's own list, as an event loop has one
    while True:
        for n in numbers():
            one = greenlet.greenlet(ask_partner)
            one.switch(n)
            waiting.append(one)
        yield


def growing_list() -> Iterator[None]:
    kind, APP.rows = made("InList"), []
    while True:
        APP.rows.extend(map(kind, numbers()))
        yield


def held_by_c() -> Iterator[None]:
    kind, keep = made("HeldByC"), ctypes.pythonapi.Py_IncRef
    keep.argtypes, keep.restype = [ctypes.py_object], None
    while True:
        for n in numbers():
            keep(kind(n))
        yield


def two_holders() -> Iterator[None]:
    kind, APP.by_key, APP.by_age = made("Shared"), {}, []
    while True:
        for n in numbers():
            APP.by_key[f"order {n}"] = shared = kind(n)
            APP.by_age.append(shared)
        yield


def lengths() -> Iterator[None]:
    APP.seen = []
    while True:
        APP.seen.extend(n % 5 for n in numbers())
        yield


def appended_bytes() -> Iterator[None]:
    APP.log = bytearray()
    while True:
        APP.log += bytes(20_000)
        yield


def bounded_lru() -> Iterator[None]:
    kind, APP.recent = made("Recent"), OrderedDict()
    while True:
        for _ in range(20):
            for n in numbers():
                APP.recent[n] = kind(n)
                if len(APP.recent) > 400:
                    APP.recent.popitem(last=False)
        yield


def fill_once() -> Iterator[None]:
    kind, APP.countries = made("Country"), {}
    while True:
        for n in numbers():
            if len(APP.countries) < 160:
                APP.countries[f"country {n}"] = kind(n)
        yield


def fills_slower() -> Iterator[None]:
    kind, APP.pages, share = made("Page"), {}, 64
    while True:
        for n in range(share):
            APP.pages[f"page {share} {n}"] = kind(n)
        share = max(share // 3, 1)
        yield


def churn() -> Iterator[None]:
    kind, APP.batch = made("Batch"), []
    while True:
        APP.batch = [kind(n) for _ in range(10) for n in numbers()]
        yield


def fragmentation() -> Iterator[None]:
    kind = made("Fragment")
    while True:
        many = [kind(n) for _ in range(40) for n in numbers()]
        APP.kept = many[::40]
        del many
        yield


KINDS: dict[str, Callable[[], Iterator[None]]] = {
    made.__name__: made
    for made in (
        cache_by_key,
        closure,
        traceback,
        greenlet_local,
        growing_list,
        held_by_c,
        two_holders,
        lengths,
        appended_bytes,
        bounded_lru,
        fill_once,
        fills_slower,
        churn,
        fragmentation,
    )
}


def main() -> None:
    running: Iterator[None] = iter(())
    stage.start_agent()
    stage.ready()
    for line in sys.stdin:
        word, *names = line.split()
        if word == "start":
            running = KINDS[names[0]]()
        elif word == "step":
            next(running)
        else:
            running = iter(())
            vars(APP).clear()
            gc.collect()
        stage.ready()


main()
