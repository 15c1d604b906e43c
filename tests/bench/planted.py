"""A process with one marker object in every place a heap walk is known to miss.

Prints {"name": address, ...} as one line of JSON, then waits for the end of stdin.
Every marker is held in its own place and nowhere else. `frozen` markers are made
before gc.freeze(), which moves them to the permanent generation.
"""

import functools
import gc
import json
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator

import gevent
import gevent.event
import heaps
import numpy as np

import liveheap

BALLAST = 100_000
"""Objects of the mixed heap beside the markers, as in the walker's prototype."""
PLACES: dict[str, int] = {}
ANSWER = gevent.event.Event()
LOCK = threading.Lock()


class Marker:
    """What is looked for."""


class Slotted:
    """Holds its marker in a slot."""

    __slots__ = ("held",)


class Inline:
    """Holds its marker in inline values; its dict is never asked for."""


def plant(place: str, thing: object = None) -> object:
    """Note an object's address under a name, and return it."""
    thing = Marker() if thing is None else thing
    PLACES[place] = id(thing)
    return thing


def text(place: str) -> str:
    """Return a string that is nobody's constant."""
    return str(plant(place, f"planted {place} {len(PLACES)}"))


def greenlet_outer() -> object:
    here = plant("greenlet local, outermost frame")
    greenlet_inner()
    return here


def greenlet_inner() -> object:
    here = plant("greenlet local, inner frame")
    sorted([1, 2], key=lambda _: greenlet_below_c())
    return here


def greenlet_below_c() -> int:
    here = plant("greenlet local, below a C call")
    ANSWER.wait()
    return id(here)


def thread_outer(ready: threading.Event) -> object:
    here = plant("thread local, outer frame")
    sorted([1], key=lambda _: thread_below_c(ready))
    return here


def thread_below_c(ready: threading.Event) -> int:
    here = plant("thread local, below a C call")
    ready.set()
    with LOCK:
        return id(here)


def generator() -> Iterator[int]:
    here = plant("suspended generator's local")
    yield id(here)


async def coroutine() -> None:
    here = plant("suspended coroutine's local")
    await Pause()
    del here


async def async_generator() -> AsyncIterator[int]:
    here = plant("suspended async generator's local")
    await Pause()
    yield id(here)


class Pause:
    """Something to await that suspends whoever does."""

    def __await__(self) -> Iterator[None]:
        yield None


def closure() -> Callable[[], object]:
    held = plant("closure cell")
    return lambda: held


def suspended() -> list[object]:
    """Return what runs half way and waits."""
    generators = [generator()]
    next(generators[0])
    waiting = coroutine()
    waiting.send(None)
    asynchronous = async_generator()
    step = asynchronous.__anext__()
    step.send(None)
    return [generators, waiting, asynchronous, step]


def containers() -> list[object]:
    """Return what holds a marker in a place of its own kind."""
    slotted, inline = Slotted(), Inline()
    slotted.held = plant("__slots__")
    inline.held = plant("inline values")
    array = np.empty(10, dtype=object)
    array[3] = plant("numpy object array")
    untracked_dict = {text("untracked dict's key"): 1, "value": text("its value")}
    untracked_tuple = tuple([text("untracked tuple's item"), 5])
    gc.collect()
    return [
        slotted,
        inline,
        array,
        untracked_dict,
        untracked_tuple,
        {text("str in a dict's key"): [1]},
        {text("item of a frozenset"): frozenset([text("frozenset")])},
        functools.partial(print, plant("argument of a partial")),
        closure(),
        type("Fresh", (), {"attribute": plant("attribute of a class")}),
    ]


def main() -> None:
    frozen = {"list": [plant("frozen generation")], "set": {plant("frozen set")}}
    gc.collect()
    gc.freeze()
    kept = [containers(), suspended(), frozen, heaps.mix(BALLAST)]
    greenlet = gevent.spawn(greenlet_outer)
    gevent.sleep(0)
    ready = threading.Event()
    LOCK.acquire()
    threading.Thread(target=thread_outer, args=[ready], daemon=True).start()
    ready.wait()
    here = plant("local of the main thread's running frame")
    liveheap.start()
    print(json.dumps(PLACES), flush=True)
    sys.stdin.read()
    del kept, greenlet, here


if __name__ == "__main__":
    main()
