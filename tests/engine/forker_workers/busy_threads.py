"""Six threads hammer malloc, zlib and a log file while the main one asks for walks.

argv: how many walks. A program of its own, so that the heap to be walked is small.
"""

import contextlib
import logging
import os
import sys
import tempfile
import threading
import zlib

from telling import tell

from liveheap import _heap

AT_ONCE = 5

sys.setswitchinterval(0.0002)  # or the main thread waits 5 ms for each GIL
over = threading.Event()
log = logging.getLogger("busy")
log.propagate = False


def allocate() -> None:
    [bytes(size) for size in range(600, 60_000, 977)]


def compress() -> None:
    zlib.decompress(zlib.compress(os.urandom(20_000), 6))


def write() -> None:
    log.warning("a line %s", "x" * 200)


def repeat(work: object) -> None:
    while not over.is_set():
        work()  # type: ignore[operator]


with contextlib.ExitStack() as stack:
    log_file = stack.enter_context(tempfile.NamedTemporaryFile())
    spools = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(AT_ONCE)]
    log.addHandler(logging.FileHandler(log_file.name))
    threads = [
        threading.Thread(target=repeat, args=(work,))
        for work in (allocate, compress, write) * 2
    ]
    for thread in threads:
        thread.start()
    ends = []
    for _ in range(int(sys.argv[1]) // AT_ONCE):
        children = [
            _heap.snapshot_start(spool.fileno(), "graph", {"timeout_s": 30})
            for spool in spools
        ]
        for child in children:
            code = child.wait(60)
            ends.append([code, child.status()["code"]])
    over.set()
    for thread in threads:
        thread.join()
tell(ends)
