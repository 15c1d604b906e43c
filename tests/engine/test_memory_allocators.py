"""Where resident memory goes, beside what pymalloc and glibc's malloc say themselves.

Under a sanitizer neither is there: .ci/sanitize.sh leaves this file out.
"""

import ctypes
import gc
import os
import re
import subprocess
import sys
import tempfile
import threading

import pytest
from residence import MB, gained, look

from liveheap import _heap

MOST_OVERHEAD = 48 + 512  # of a pool: its header, and less than a block at the end

NAMES = _heap.allocators()
pytestmark = pytest.mark.skipif(
    NAMES["python"] != "pymalloc" or NAMES["glibc"] is None,
    reason="needs pymalloc and glibc's malloc",
)


@pytest.fixture(autouse=True)
def _collected() -> None:
    """Leave nothing that a collection in the middle of a test would free."""
    gc.collect()


class Mallinfo(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def asked_of_pymalloc() -> dict[str, int]:
    """Return the figures that CPython prints to the standard error."""
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            sys._debugmallocstats()
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        file.seek(0)
        text = file.read().decode()

    def number(words: str, after: str = r"\s*=\s*([\d,]+)") -> int:
        found = re.search(f"{words}{after}", text)
        assert found, words
        return int(found[1].replace(",", ""))

    return {
        "objects": number("# bytes in allocated blocks"),
        "pool_free": number("# bytes in available blocks"),
        "unused": number(r"unused pools \* \d+ bytes"),
        "unused_pools": number("", r"(\d+) unused pools"),
        "pool_overhead": number("# bytes lost to pool headers")
        + number("# bytes lost to quantization"),
    }


def asked_of_malloc() -> Mallinfo:
    """Return the figures that glibc's malloc tells."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallinfo2"):
        pytest.skip("needs glibc 2.33")
    libc.mallinfo2.restype = Mallinfo
    said: Mallinfo = libc.mallinfo2()
    return said


def mapped_from(size: int) -> int:
    """Return a size from this one on that malloc maps: no free chunk is as large.

    The threshold above which malloc maps moves, but never above 32 MiB. Below all that
    is free, there may be a chunk that a test before has left.
    """
    return size + int(asked_of_malloc().fordblks)


def test_pools_hold_what_the_allocator_says() -> None:
    asked_of_pymalloc()  # for what it imports and compiles
    rows = [{"row": number, "text": f"text {number}"} for number in range(20_000)]
    del rows[::2]
    gc.collect()
    found, said = look(), asked_of_pymalloc()

    assert found["objects"] == pytest.approx(said["objects"], rel=0.02)
    # A pool that was in use before has its header still; pymalloc does not count it.
    before = said["unused_pools"] * MOST_OVERHEAD
    assert 0.9 * said["pool_overhead"] < found["pool_overhead"]
    assert found["pool_overhead"] < 1.1 * said["pool_overhead"] + before
    # What was never touched is free, too, and not in memory.
    assert said["pool_free"] - 0.5 * MB < found["pool_free"]
    assert found["pool_free"] < 1.02 * (said["pool_free"] + said["unused"])


def test_chunks_are_what_malloc_says_without_its_lock() -> None:
    blocks = [bytes(2000) for _ in range(5000)]
    del blocks[::2]
    found, said = look(), asked_of_malloc()

    assert found["malloc_known"]
    heaps = found["malloc_used"] + found["malloc_free"]
    assert found["malloc_used"] == pytest.approx(said.uordblks, rel=0.1)
    # malloc counts as free what it gave back to the system, too.
    assert heaps <= said.arena
    assert found["malloc_free"] >= 0.8 * 2500 * 2000
    assert found["n_free_chunks"] == pytest.approx(said.ordblks, rel=0.1)


def test_a_block_that_was_never_touched_is_nowhere() -> None:
    size, before = mapped_from(40 * MB), look()
    block = bytes(size)  # from calloc: zeros that nobody has written

    assert gained(before, look()) == {}
    assert not block[::4096].strip(b"\0")  # pages of zeros, only read
    assert gained(before, look()) == {}


def test_blocks_above_the_threshold_are_mapped() -> None:
    size, before = mapped_from(34 * MB), look()
    block = bytearray(size)

    assert gained(before, look()) == {
        "malloc_mapped": pytest.approx(size / MB, abs=0.6)
    }
    del block


def test_stacks_and_arenas_of_threads_are_counted() -> None:
    before, end = look(), threading.Event()
    kept, ready = [], threading.Semaphore(0)

    def serve() -> None:
        def deeper(depth: int) -> None:
            if depth:
                deeper(depth - 1)
            else:
                ready.release()
                end.wait()

        kept.append([bytes(5000) for _ in range(200)])
        deeper(50)

    threads = [threading.Thread(target=serve) for _ in range(6)]
    for thread in threads:
        thread.start()
        assert ready.acquire(timeout=60)
    after = look()
    end.set()
    for thread in threads:
        thread.join()

    assert after["n_stacks"] >= 6  # some of them were an earlier thread's
    assert after["stacks"] >= 6 * 8192
    assert after["malloc_used"] - before["malloc_used"] >= 5.5 * MB
    assert after["n_arenas"] >= 1 + 6


def test_a_trim_gives_back_what_was_foretold() -> None:
    blocks = [bytes(9000) for _ in range(2000)]
    del blocks[::2]
    before = look()
    assert _heap.trim() > 0
    after = look()

    assert before["trimmable"] > 3 * MB
    given = before["malloc_free"] - after["malloc_free"]
    assert given == pytest.approx(before["trimmable"], rel=0.15)
    assert after["trimmable"] < 0.1 * before["trimmable"]
    del blocks


def test_without_address_space_there_is_an_error_and_no_answer(tmp_path) -> None:
    code = (
        "import resource; from liveheap import _heap; pages = open('/proc/self/statm')"
        ".read().split()[0]; limit = int(pages) * 4096 + (64 << 10);"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit)); _heap.residence(1.0)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)

    assert b"[Errno 12]" in done.stderr
