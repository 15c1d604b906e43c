"""Leaks of eleven kinds: for each line on standard input every holder gains ROUND
objects, each of a type of its own, beside work that leaves nothing behind.

Says `ready` at the start, and again after each line. What holds what:

    ByKey        a module's dict, under keys that are data
    OfClass      a list that is an attribute of a class
    InCell       a list in a closure
    Cached       functools.lru_cache without a bound
    PerThread    threading.local of a thread that waits
    InFrame      a list in a local variable of that thread, and nowhere else
    InTask       a list in a local variable of an asyncio task that waits
    OfSingleton  a list that is an attribute of an instance
    InDefault    the list that is a default argument
    InTraceback  local variables of frames that a kept exception's traceback holds
    InGenerator  a local variable of a generator that is not used up
"""

import asyncio
import functools
import json
import logging
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import stage

ROUND = 40


class Payload:
    def __init__(self) -> None:
        self.data = bytearray(256)


class ByKey(Payload):
    pass


class OfClass(Payload):
    pass


class InCell(Payload):
    pass


class Cached(Payload):
    pass


class PerThread(Payload):
    pass


class InFrame(Payload):
    pass


class InTask(Payload):
    pass


class OfSingleton(Payload):
    pass


class InDefault(Payload):
    pass


class InTraceback(Payload):
    pass


class InGenerator(Payload):
    pass


RESULTS: dict[str, ByKey] = {}


class Handler:
    seen: ClassVar[list[OfClass]] = []


def make_counter() -> Callable[[], None]:
    history: list[InCell] = []

    def count() -> None:
        history.append(InCell())

    return count


count = make_counter()


@functools.cache
def look_up(key: int) -> Cached:
    return Cached()


class Registry:
    def __init__(self) -> None:
        self.entries: list[OfSingleton] = []


REGISTRY = Registry()


def remember(item: InDefault, kept: list[InDefault] = []) -> None:  # noqa: B006 - the leak
    kept.append(item)


FAILURES: list[Exception] = []


def fail() -> None:
    scratch = InTraceback()
    raise ValueError(id(scratch))


def open_stream() -> Iterator[int]:
    buffer: list[InGenerator] = []
    while True:
        buffer.append(InGenerator())
        yield len(buffer)


STREAM = open_stream()


class Storage(threading.local):
    pass


STORAGE = Storage()


class Side:
    """A thread that does one thing for each word, and says when it is done."""

    def __init__(
        self, target: Callable[["queue.Queue[Any]", "queue.Queue[Any]"], None]
    ):
        self.words: queue.Queue[Any] = queue.Queue()
        self.done: queue.Queue[Any] = queue.Queue()
        self.thread = threading.Thread(
            target=target, args=(self.words, self.done), daemon=True
        )
        self.thread.start()

    def work(self, count: int) -> None:
        self.words.put(count)
        self.done.get()


def consume(words: "queue.Queue[Any]", done: "queue.Queue[Any]") -> None:
    backlog: list[InFrame] = []
    STORAGE.items = []
    while True:
        for _ in range(words.get()):
            backlog.append(InFrame())
            STORAGE.items.append(PerThread())
        done.put(None)


async def poll(words: "asyncio.Queue[int]", done: "queue.Queue[Any]") -> None:
    pending: list[InTask] = []
    while True:
        for _ in range(await words.get()):
            pending.append(InTask())
        done.put(None)


class Loop:
    """An event loop in a thread, with one task."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.done: queue.Queue[Any] = queue.Queue()
        self.started = threading.Event()
        threading.Thread(target=self.run, daemon=True).start()
        self.started.wait()

    def run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.words: asyncio.Queue[int] = asyncio.Queue()
        self.loop.create_task(poll(self.words, self.done), name="poller")
        self.loop.call_soon(self.started.set)
        self.loop.run_forever()

    def work(self, count: int) -> None:
        self.loop.call_soon_threadsafe(self.words.put_nowait, count)
        self.done.get()


SIDE = Side(consume)
LOOP = Loop()


def leak() -> None:
    for _ in range(ROUND):
        number = len(RESULTS)
        RESULTS[f"customer {number}"] = ByKey()
        Handler.seen.append(OfClass())
        count()
        look_up(number)
        REGISTRY.entries.append(OfSingleton())
        remember(InDefault())
        try:
            fail()
        except ValueError as error:
            FAILURES.append(error)
        next(STREAM)


def serve() -> None:
    """Do what a request does, and leave nothing behind."""
    for number in range(200):
        document = json.loads(json.dumps({f"key {number}": [number] * 10}))
        logging.getLogger("app").debug("served %s", document)


def work() -> None:
    leak()
    SIDE.work(ROUND)
    LOOP.work(ROUND)
    serve()


work()
stage.start_agent()
stage.ready()
for _ in sys.stdin.buffer:
    work()
    stage.ready()
