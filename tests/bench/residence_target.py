"""A process whose memory grows as it is told; see target.py for how it is talked to.

Its ticker works: each millisecond it maps a little memory and gives it back, and asks
malloc for a block. So its longest gap shows every lock that somebody else holds, of the
kernel's map of the process and of malloc. MALLOC_ARENA_MAX=1 has it share the arena.
"""

import ctypes
import gc
import json
import mmap
import os
import random
import sys
import threading
import time
from typing import Any

import target

import liveheap

MB = 1_000_000
PAGE = 4096
PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
ROW, TEXT, LARGE, PIECE = 72, 2000, 4000, 1 << 16


class Worker(target.Ticker):
    """A ticker that maps, unmaps and allocates."""

    def run(self) -> None:
        last = time.perf_counter()
        while True:
            time.sleep(target.TICK_S)
            with mmap.mmap(-1, PIECE, flags=PRIVATE) as mapping:
                mapping[0] = 1
            bytes(3 * LARGE)
            now = time.perf_counter()
            self.gaps.append(now - last)
            last = now


class Grower(target.Target):
    """Grows by a kind of memory, so many MB of it."""

    def __init__(self, library: str) -> None:
        self.kept: list[object] = []
        self.native = ctypes.CDLL(library)
        self.native.leak.argtypes = [ctypes.c_ulong, ctypes.c_size_t]
        self.native.use_stack.argtypes = [ctypes.c_size_t]
        self.ticker = Worker()
        self.child_cpu_s = 0.0

    def facts(self) -> dict[str, Any]:
        return {"pid": os.getpid(), "unsupported": None}

    def ready(self) -> dict[str, Any]:
        """Freeze what was built: a collection would be a gap of its own."""
        gc.freeze()
        return {"rss": target.resident_bytes()}

    def grow(self, kind: str, megabytes: float) -> dict[str, Any]:
        getattr(self, f"grow_{kind}")(int(megabytes * MB))
        gc.collect()
        return {"rss": target.resident_bytes()}

    def grow_objects(self, size: int) -> None:
        self.kept.append([float(n) for n in range(size // (ROW // 2))])

    def grow_fragments(self, size: int) -> None:
        rows = [b"%064d" % n for n in range(size // 120)]
        self.kept.append(rows[::40])

    def grow_large(self, size: int) -> None:
        self.kept.append([bytes(LARGE) for _ in range(size // (LARGE + 48))])

    def grow_freed(self, size: int) -> None:
        """Free all blocks but one of forty, in no order."""
        rows: list[object] = [bytes(TEXT) for _ in range(size // (TEXT + 48))]
        order = list(range(len(rows)))
        random.Random(1).shuffle(order)
        for place in order[: len(order) * 39 // 40]:
            rows[place] = None
        self.kept.append(rows)

    def grow_halves(self, size: int) -> None:
        """Free every second block: as many free chunks as there can be."""
        rows: list[object] = [bytes(1000) for _ in range(size // 1040)]
        for place in random.Random(1).sample(range(len(rows)), len(rows) // 2):
            rows[place] = None
        self.kept.append(rows)

    def grow_native(self, size: int) -> None:
        self.native.leak(size // 1016, 1000)

    def grow_private(self, size: int) -> None:
        self._map(size, PRIVATE)

    def grow_shared(self, size: int) -> None:
        self._map(size, mmap.MAP_SHARED)

    def _map(self, size: int, flags: int) -> None:
        mapping = mmap.mmap(-1, size, flags=flags)
        for page in range(0, size, PAGE):
            mapping[page] = 1
        self.kept.append(mapping)

    def grow_mappings(self, size: int) -> None:
        """30,000 mappings, every second read only: or the kernel would merge them."""
        length = max(size // 30_000 // PAGE, 1) * PAGE
        for number in range(30_000):
            mapping = mmap.mmap(-1, length, flags=PRIVATE)
            for page in range(0, len(mapping), PAGE):
                mapping[page] = 1
            if number % 2:
                begin = ctypes.addressof(ctypes.c_char.from_buffer(mapping))
                ctypes.CDLL(None).mprotect(
                    ctypes.c_void_p(begin), ctypes.c_size_t(len(mapping)), 1
                )
            self.kept.append(mapping)

    def grow_stacks(self, size: int) -> None:
        ready = threading.Barrier(size // (2 * MB) + 1)

        def serve() -> None:
            self.native.use_stack(2 * MB)
            ready.wait()
            threading.Event().wait()

        for _ in range(ready.parties - 1):
            threading.Thread(target=serve, daemon=True).start()
        ready.wait()

    def mallinfo(self) -> dict[str, Any]:
        """What asking malloc itself would cost, for comparison."""
        libc = ctypes.CDLL(None)
        with self.measured() as figures:
            room = (ctypes.c_size_t * 10)()
            libc.mallinfo2.argtypes = [ctypes.c_void_p]  # the result is returned there
            libc.mallinfo2(ctypes.addressof(room))
        return figures


def main() -> None:
    liveheap.start()
    grower = Grower(sys.argv[1])
    print(json.dumps(grower.facts()), flush=True)
    for line in sys.stdin:
        print(json.dumps(target.answer(grower, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
