"""Objects of every type that knows its own size, and suspended greenlets whose frames
are too big for a small block; then a fork, and a walk of each kind.

Two types ask Python for memory whenever their C code is called, as greenlets of some
versions do when asked for their frame. Started with PYTHONMALLOC=malloc and a malloc
that ends a clone which calls it.
"""

import array
import asyncio
import collections
import contextlib
import ctypes
import decimal
import fractions
import gc
import io
import itertools
import json
import os
import pickle
import queue
import sqlite3
import ssl
import struct
import sys
import tempfile
import xml.etree.ElementTree as ET

import greenlet
import numpy
from telling import tell

from liveheap import _heap


class Sized:
    """Its own __sizeof__ must not be called."""

    def __sizeof__(self) -> int:
        return len([object() for _ in range(1000)])


class AsksForLock:
    """Its tp_traverse takes memory of the raw domain."""


class AsksForCell:
    """Its tp_traverse takes memory for an object."""


TP_TRAVERSE = 184  # offset in PyTypeObject, 64 bit, 3.10 to 3.15


def traverse_by(cls: type, address: bytes) -> bytes:
    """Overwrite a class's tp_traverse; returns what was there."""
    slot = id(cls) + TP_TRAVERSE
    before = ctypes.string_at(slot, 8)
    ctypes.memmove(slot, address, 8)
    return before


def address_of(function: object) -> bytes:
    return struct.pack("P", ctypes.cast(function, ctypes.c_void_p).value)  # type: ignore[arg-type]


class Text(str):
    pass


class Number(int):
    pass


big = "def wait(switch):\n" + "".join(f"    v{i} = [{i}]\n" for i in range(200))
names: dict[str, object] = {}
exec(big + "    sorted([2, 1], key=lambda x: switch())\n", names)


def generate(depth: int) -> object:
    held = [depth]
    yield held


async def sleep() -> None:
    await asyncio.sleep(0)


def suspend() -> greenlet.greenlet:
    main = greenlet.getcurrent()
    sleeper = greenlet.greenlet(names["wait"])
    sleeper.switch(main.switch)
    return sleeper


coroutine = sleep()
generators = [generate(i) for i in range(3)]
kept: list[object] = [
    *(Sized(), Text("text"), Text("\u20ac"), Number(5), True, 1 << 200, 1.5, 2j),
    *(bytearray(), bytearray(5), b"", b"bytes", memoryview(b"bytes"), "\u20ac"),
    *(array.array("d", [1.0]), collections.deque(range(200)), {1}, frozenset([1])),
    *(collections.OrderedDict(a=1), collections.OrderedDict(), struct.Struct("ihq")),
    *(decimal.Decimal(1), decimal.Decimal("1" * 400), fractions.Fraction(1, 3)),
    *(io.BytesIO(b"x" * 100), io.StringIO("x"), io.BufferedReader(io.BytesIO())),
    *(io.BufferedWriter(io.BytesIO(), 99), io.BufferedRandom(io.BytesIO(), 99)),
    *(pickle.Pickler(io.BytesIO()), pickle.Unpickler(io.BytesIO()), json.JSONEncoder()),
    *(
        itertools.product("ab", "cd"),
        itertools.permutations("abc"),
        queue.SimpleQueue(),
    ),
    *(itertools.combinations("abc", 2), ssl.create_default_context()),
    *(sqlite3.connect(":memory:"), ctypes.create_string_buffer(9), ctypes.Structure),
    *(numpy.zeros((9, 9)), numpy.float64(1), numpy.array([[], 1], dtype=object)),
    *(ET.fromstring("<a b='c'><d/></a>"), sys._getframe(), coroutine, generators),
]
for generator in generators:
    next(generator)
sleepers = [suspend() for _ in range(3)]
asking = [AsksForLock(), AsksForCell()]
gc.disable()
intact = traverse_by(AsksForLock, address_of(ctypes.pythonapi.PyThread_allocate_lock))
traverse_by(AsksForCell, address_of(ctypes.pythonapi.PyCell_New))

if os.fork() == 0:
    os._exit(len([[] for _ in range(1000)]) // 1000)  # ended with 86, unless unseen
_, status = os.wait()
told: dict[str, object] = {"fork": os.waitstatus_to_exitcode(status)}
for kind in ("graph", "histogram"):
    with tempfile.TemporaryFile() as spool:
        child = _heap.snapshot_start(spool.fileno(), kind, {"timeout_s": 30})
        child.wait(60)
        told[kind] = child.status()
for cls in (AsksForLock, AsksForCell):
    traverse_by(cls, intact)
tell(told)
for sleeper in sleepers:
    with contextlib.suppress(greenlet.GreenletExit):
        sleeper.throw()
coroutine.close()
