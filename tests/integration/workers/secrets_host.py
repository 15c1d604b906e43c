"""A worker full of planted secrets: in every kind of place where a value can stand.

Each holds the word SECRET, which the program's text must not hold: what stands in the
source is program text and may leave under scope graph. So the word is put together
here, and the tests look for it in everything that leaves.
"""

import collections
import contextlib
import contextvars
import os
import sys
import threading
from dataclasses import dataclass

import gevent
import stage

MARK = "".join(chr(code) for code in (83, 69, 67, 82, 69, 84))


def secret(kind: str) -> str:
    """A new string object, not the same one twice."""
    return f"{MARK}_{kind}"


@dataclass
class Account:
    password: str
    headers: dict


class Slotted:
    __slots__ = ("token",)


Point = collections.namedtuple("Point", ["left", "right"])
CONTEXT = contextvars.ContextVar("CONTEXT")
SHELF = {
    "by key": {secret("key"): 1, secret("interned") and sys.intern(secret("in")): 2},
    "identifier": {f"{MARK}abc": 1, sys.intern(f"{MARK}def"): 2},
    "bytes": {MARK.encode() + b"-bytes": MARK.encode() + b"-more"},
    "tuple key": {(secret("part"), 1): [secret("element")]},
    "set": {secret("member"), frozenset([secret("frozen")])},
    "account": Account(secret("attribute"), {f"X-{MARK}": secret("header")}),
    "slot": Slotted(),
    "point": Point(secret("left"), secret("right")),
    "counter": collections.Counter([secret("counted")]),
    "ordered": collections.OrderedDict([(secret("ordered"), 1)]),
    "default": collections.defaultdict(list, {secret("default"): []}),
    "deque": collections.deque([secret("deque")]),
    "array": bytearray(MARK.encode()),
    "view": memoryview(MARK.encode() + b"-view"),
}
SHELF["slot"].token = secret("slot")
CONTEXT.set(secret("context"))
LOCAL = threading.local()
LOCAL.value = secret("thread-local")
os.environ["PLANTED"] = secret("environ")


def closure():
    kept = secret("cell")

    def function(default=secret("argument")):  # noqa: B008
        return kept, default

    return function


def generator():
    waiting = secret("generator")
    yield
    return waiting


def failing():
    message = secret("local-of-a-traceback")
    raise ValueError(secret("exception") + message)


FUNCTION, GENERATOR = closure(), generator()
next(GENERATOR)
try:
    failing()
except ValueError as exc:
    KEPT_ERROR = exc
STOP = threading.Event()


def wait_in_thread(payload):
    mine = secret("local-of-a-thread")
    STOP.wait()
    return mine, payload


threading.Thread(
    target=wait_in_thread, args=(secret("task"),), name=secret("thread"), daemon=True
).start()


def wait_in_greenlet(payload):
    mine = secret("local-of-a-greenlet")
    gevent.sleep(3600)
    return mine, payload


GREENLET = gevent.spawn(wait_in_greenlet, secret("greenlet"))
GREENLET.name = secret("greenlet-name")
gevent.sleep(0)
with contextlib.suppress(OSError):
    open(secret("file"), "w").close()
OPENED = open(secret("file"), encoding="utf-8")  # noqa: SIM115

stage.start_agent()
stage.ready()
stage.until_stdin_closes()
