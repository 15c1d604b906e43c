"""Where resident memory goes, beside what the kernel says itself.

The sizes are small and the margins wide enough for what the tests themselves allocate;
tests/bench has the heaps of 10 MB to 2 GB.
"""

import mmap
import os
import threading

import pytest
from residence import MB, PARTS, gained, look

from liveheap import _heap

PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


def written(length: int, flags: int = PRIVATE) -> mmap.mmap:
    """Return a mapping of which every page was written to."""
    mapping = mmap.mmap(-1, length, flags=flags)
    for page in range(0, length, mmap.PAGESIZE):
        mapping[page] = 1
    return mapping


def test_the_parts_add_up_to_what_the_kernel_says() -> None:
    found = look()
    with open("/proc/self/statm", encoding="ascii") as statm:
        rss = int(statm.read().split()[1]) * mmap.PAGESIZE

    assert sum(found[name] for name in PARTS) == found["rss"]
    assert found["rss"] == pytest.approx(rss, abs=3 * MB)
    assert 0 < found["exclusive"] <= found["rss"]
    assert not found["cut_short"]


def test_the_library_of_malloc_is_known() -> None:
    names = _heap.allocators()
    if "LD_PRELOAD" not in os.environ:  # as the C library here is glibc
        assert names["glibc"] == os.confstr("CS_GNU_LIBC_VERSION").split()[1]
        assert "libc" in names["malloc"]


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


def test_without_time_the_rest_is_told_as_such() -> None:
    with written(8 * MB):
        found = _heap.residence(0.0)

    assert found["cut_short"]
    assert sum(found[name] for name in PARTS) == found["rss"]
