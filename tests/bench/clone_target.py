"""A worker of a chosen size under load, for the rows of the clone.

It answers requests one after the other as fast as it can, and counts them in a file
that is mapped: each reads some objects of its cache, which writes their reference
counts, and makes some. The cache is a twentieth of the heap; every request adds one to
the pages that a fork has made it share. Between two requests it does what the driver
says: `bare` clones it and lets the clone end at once.
"""

import json
import mmap
import os
import random
import select
import struct
import sys

import heaps

import liveheap
from liveheap import _heap
from liveheap.heap import Heap

READ, MADE = 20, 30


def main() -> None:
    records, _users = heaps.mix(int(sys.argv[1]))  # type: ignore[misc]
    cache = records[: max(len(records) // 20, 1)]
    counter = open("counter", "w+b", buffering=0)  # noqa: SIM115 - as long as we live
    counter.truncate(8)
    shown = mmap.mmap(counter.fileno(), 8)
    liveheap.start()
    pages = int(open("/proc/self/statm").read().split()[1])  # noqa: SIM115
    say(pid=os.getpid(), rss=pages * mmap.PAGESIZE, unsupported=Heap().unsupported)
    heard = select.poll()
    heard.register(sys.stdin, select.POLLIN)
    pick, done = random.Random(1), 0
    while True:
        request(cache, pick)
        done += 1
        struct.pack_into("<q", shown, 0, done)
        if not done % 64 and heard.poll(0):
            order = json.loads(sys.stdin.readline() or '{"do": "end"}')
            if order["do"] == "end":
                return
            say(ns=_heap.bare_clone())


def request(cache: list[object], pick: random.Random) -> int:
    read = [cache[int(pick.random() * len(cache))] for _ in range(READ)]
    made = {f"key-{number}": [number, str(number)] for number in range(MADE)}
    return len(read) + len(made)


def say(**figures: object) -> None:
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
