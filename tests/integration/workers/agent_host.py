"""A host of a chosen kind (first argument) whose main thread does what the test says.

Each line of its input is a JSON text of Python, run on the main thread; the value of
the name `answer` goes back as JSON before `ready`. Kinds: plain, asyncio, gevent
(patched, then started), gevent-late (started, then patched), eventlet. Where a loop
runs, one thread reads the lines and never a second one: tests count threads.

`spin` is CPU-bound code: nothing in it lets go of the GIL. So the file `spinning`, two
bytes, is shared by mapping it: the first is 1 while it spins, the second ends it.
"""

import json
import mmap
import os
import sys
import time

KIND = sys.argv[1]
LONGEST_SPIN_S = 30.0
LINES = (
    sys.stdin.buffer
)  # whatever takes the place of sys.stdin later, as a manhole does

if KIND == "gevent":
    from gevent import monkey

    monkey.patch_all()
if KIND == "eventlet":
    import eventlet

    eventlet.monkey_patch()

import stage  # noqa: E402  after patching

stage.start_agent()

if KIND == "gevent-late":
    from gevent import monkey

    monkey.patch_all()


with open("spinning", "w+b") as file:
    file.write(b"\0\0")
    file.flush()
    SPINNING = mmap.mmap(file.fileno(), 2)


def spin() -> None:
    end = time.monotonic() + LONGEST_SPIN_S
    SPINNING[0] = 1
    while not SPINNING[1] and time.monotonic() < end:
        pass
    SPINNING[0] = SPINNING[1] = 0


WORLD: dict = {"spin": spin, "os": os, "sys": sys, "time": time}


def run(line: bytes) -> bool:
    """Run one line; False at the end of the input."""
    if line:
        WORLD["answer"] = None
        exec(json.loads(line), WORLD)
        stage.ready(json.dumps(WORLD["answer"]))
    return bool(line)


def next_line() -> bytes:
    return LINES.readline()


def serve_asyncio() -> None:
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    async def serve() -> None:
        loop = WORLD["loop"] = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as reader:
            while run(await loop.run_in_executor(reader, next_line)):
                pass

    asyncio.run(serve())


def serve_gevent() -> None:
    from gevent.threadpool import ThreadPool

    reader = ThreadPool(1)
    while run(reader.spawn(next_line).get()):
        pass


def serve_eventlet() -> None:
    from eventlet import tpool

    while run(tpool.execute(next_line)):
        pass


def serve_plain() -> None:
    while run(next_line()):
        pass


stage.ready()
{
    "asyncio": serve_asyncio,
    "gevent": serve_gevent,
    "gevent-late": serve_gevent,
    "eventlet": serve_eventlet,
    "plain": serve_plain,
}[KIND]()
