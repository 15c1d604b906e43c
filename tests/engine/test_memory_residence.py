"""Where resident memory goes, beside what the kernel and the allocators say themselves.

The sizes are small and the margins wide enough for what the tests themselves allocate;
tests/bench has the heaps of 10 MB to 2 GB.
"""

import ctypes
import gc
import mmap
import os
import re
import subprocess
import sys
import tempfile
import threading
from typing import Any

import pytest

from liveheap import _heap

MB = 1_000_000
PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
NAMES = _heap.allocators()
PARTS = (
    *("objects", "pool_free", "pool_overhead"),
    *("malloc_used", "malloc_free", "malloc_mapped"),
    *("anonymous", "stacks", "main_stack", "shared", "files", "relocations"),
)
has_pools = pytest.mark.skipif(NAMES["python"] != "pymalloc", reason="needs pymalloc")
has_glibc = pytest.mark.skipif(NAMES["glibc"] is None, reason="needs glibc's malloc")


class Mallinfo(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def look() -> dict[str, Any]:
    return _heap.residence(10.0)


def gained(before: dict[str, Any], after: dict[str, Any]) -> dict[str, float]:
    """Return by how many MB each part grew, those that hardly did left out."""
    grown = {name: (after[name] - before[name]) / MB for name in PARTS}
    return {name: size for name, size in grown.items() if abs(size) > 0.6}


def written(length: int, flags: int = PRIVATE) -> mmap.mmap:
    """Return a mapping of which every page was written to."""
    mapping = mmap.mmap(-1, length, flags=flags)
    for page in range(0, length, mmap.PAGESIZE):
        mapping[page] = 1
    return mapping


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

    def number(words: str) -> int:
        found = re.search(rf"{words}\s*=\s*([\d,]+)", text)
        assert found, words
        return int(found[1].replace(",", ""))

    return {
        "objects": number("# bytes in allocated blocks"),
        "pool_free": number("# bytes in available blocks"),
        "unused": number(r"unused pools \* \d+ bytes"),
        "pool_overhead": number("# bytes lost to pool headers")
        + number("# bytes lost to quantization"),
    }


def test_the_parts_add_up_to_what_the_kernel_says() -> None:
    found = look()
    with open("/proc/self/statm", encoding="ascii") as statm:
        rss = int(statm.read().split()[1]) * mmap.PAGESIZE

    assert sum(found[name] for name in PARTS) == found["rss"]
    assert found["rss"] == pytest.approx(rss, abs=3 * MB)
    assert 0 < found["exclusive"] <= found["rss"]
    assert not found["cut_short"]


@has_pools
def test_pools_hold_what_the_allocator_says() -> None:
    asked_of_pymalloc()  # for what it imports and compiles
    rows = [{"row": number, "text": f"text {number}"} for number in range(20_000)]
    del rows[::2]
    gc.collect()
    found, said = look(), asked_of_pymalloc()

    assert found["objects"] == pytest.approx(said["objects"], rel=0.02)
    assert found["pool_overhead"] == pytest.approx(said["pool_overhead"], rel=0.1)
    # What was never touched is free, too, and not in memory.
    assert said["pool_free"] - 0.5 * MB < found["pool_free"]
    assert found["pool_free"] < 1.02 * (said["pool_free"] + said["unused"])


@has_glibc
def test_chunks_are_what_malloc_says_without_its_lock() -> None:
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallinfo2"):
        pytest.skip("needs glibc 2.33")
    libc.mallinfo2.restype = Mallinfo
    blocks = [bytes(2000) for _ in range(5000)]
    del blocks[::2]
    found, said = look(), libc.mallinfo2()

    assert found["malloc_known"]
    heaps = found["malloc_used"] + found["malloc_free"]
    assert found["malloc_used"] == pytest.approx(said.uordblks, rel=0.1)
    # malloc counts as free what it gave back to the system, too.
    assert heaps <= said.arena
    assert found["malloc_free"] >= 0.8 * 2500 * 2000
    assert found["n_free_chunks"] == pytest.approx(said.ordblks, rel=0.1)


@has_glibc
def test_a_block_that_was_never_touched_is_nowhere() -> None:
    before = look()
    block = bytes(40 * MB)  # from calloc: zeros that nobody has written

    assert gained(before, look()) == {}
    assert not block[::4096].strip(b"\0")  # pages of zeros, only read
    assert gained(before, look()) == {}


@has_glibc
def test_blocks_above_the_threshold_are_mapped() -> None:
    before = look()
    block = bytearray(34 * MB)  # the threshold moves, but never above 32 MiB

    assert gained(before, look()) == {"malloc_mapped": pytest.approx(34, abs=0.6)}
    del block


def test_the_library_of_malloc_is_known() -> None:
    if "LD_PRELOAD" not in os.environ:  # as the C library here is glibc
        assert NAMES["glibc"] == os.confstr("CS_GNU_LIBC_VERSION").split()[1]
        assert "libc" in NAMES["malloc"]


@pytest.mark.parametrize(
    ("flags", "part"), [(PRIVATE, "anonymous"), (mmap.MAP_SHARED, "shared")]
)
def test_memory_that_code_mapped_is_told_by_whether_it_is_shared(
    flags: int, part: str
) -> None:
    """An anonymous shared mapping has an inode and the name of a file: no file."""
    before = look()
    with written(5 * MB, flags):
        assert gained(before, look()) == {part: pytest.approx(5, abs=0.6)}


@has_glibc
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
        assert ready.acquire(timeout=10)
    after = look()
    end.set()
    for thread in threads:
        thread.join()

    assert after["n_stacks"] >= 6  # some of them were an earlier thread's
    assert after["stacks"] >= 6 * 8192
    assert after["malloc_used"] - before["malloc_used"] >= 5.5 * MB
    assert after["n_arenas"] > before["n_arenas"]


@has_glibc
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


def test_memory_that_comes_and_goes_meanwhile_does_no_harm() -> None:
    over = threading.Event()

    def churn() -> None:
        while not over.is_set():
            kept = [bytes(600 * n) for n in range(60)]
            written(1 << 16).close()
            del kept[::2]

    threads = [threading.Thread(target=churn) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            found = look()
            assert sum(found[name] for name in PARTS) == found["rss"]
    finally:
        over.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "no such file\n",
        "Rss: 5 kB\n",
        "0-",
        "0-ffffffffffffffff rw-p 0 0 0\nRss: 99999999999999999999 kB\n",
        "1000-2000 rw-p 0 0:0 0\nRss: 4 kB\n",
        "5-3 rw-p 00000000 00:00 0 [heap]\nRss: 4 kB\n",
        "7f0000000000-7f0000000001 rw-p 00000000 00:00 0\nRss: 4 kB",
        "400000-500000 r--p 00000000 00:00 77 /srv/\x1b]0;x\x07" + "y" * 100_000,
        "\x00" * 5000,
    ],
)
def test_text_that_is_no_smaps_is_read_without_harm(tmp_path, text: str) -> None:
    (tmp_path / "smaps").write_text(text)
    found = _heap.residence(0.2, str(tmp_path / "smaps"))

    assert found["rss"] >= 0


def test_a_file_that_is_missing_is_an_error(tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        _heap.residence(1.0, str(tmp_path / "missing"))


@has_glibc
def test_without_address_space_there_is_an_error_and_no_answer(tmp_path) -> None:
    code = (
        "import resource; from liveheap import _heap; pages = open('/proc/self/statm')"
        ".read().split()[0]; limit = int(pages) * 4096 + (64 << 10);"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit)); _heap.residence(1.0)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)

    assert b"[Errno 12]" in done.stderr


def test_without_time_the_rest_is_told_as_such() -> None:
    with written(8 * MB):
        found = _heap.residence(0.0)

    assert found["cut_short"]
    assert sum(found[name] for name in PARTS) == found["rss"]
