"""Where resident memory goes, beside what the kernel says itself.

The sizes are small and the margins wide enough for what the tests themselves allocate;
tests/bench has the heaps of 10 MB to 2 GB.
"""

import gc
import mmap
import os
import subprocess
import sys
import threading

import pytest
from residence import MB, PARTS, gained, look

from liveheap import _heap

PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


@pytest.fixture(autouse=True)
def _collected() -> None:
    """Leave nothing that a collection in the middle of a test would free."""
    gc.collect()


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


def test_smaps_says_the_same_as_pagemap() -> None:
    with written(5 * MB, mmap.MAP_SHARED):
        by_pagemap, by_smaps = look(), _heap.residence(10.0, "/proc/self/smaps")

    assert gained(by_pagemap, by_smaps) == {}
    assert by_pagemap["rss"] == pytest.approx(by_smaps["rss"], abs=MB)
    assert by_pagemap["exclusive"] == pytest.approx(by_smaps["exclusive"], abs=MB)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become somebody else")
def test_a_process_that_has_become_another_user_is_read_all_the_same(tmp_path) -> None:
    """Its pagemap is root's from then on."""
    code = (
        "import os; from liveheap import _heap; os.setuid(65534)\n"
        "try: open('/proc/self/pagemap')\n"
        "except PermissionError: print(_heap.residence(10.0)['rss'])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)

    assert int(done.stdout) > MB


def test_what_a_parent_shares_with_its_child_is_told() -> None:
    code = (
        "import mmap, os\n"
        "from liveheap import _heap\n"
        "flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS\n"
        "mapping = mmap.mmap(-1, 8_000_000, flags=flags)\n"
        "for page in range(0, 8_000_000, 4096): mapping[page] = 1\n"
        "end, say_end = os.pipe()\n"
        "if not (pid := os.fork()): os.close(say_end); os.read(end, 1); os._exit(0)\n"
        "found = _heap.residence(10.0); os.close(say_end); os.waitpid(pid, 0)\n"
        "print(found['inherited'], found['rss'] - found['exclusive'])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd="/", capture_output=True, check=True)
    inherited, not_only_here = map(int, done.stdout.split())

    assert 8 * MB <= inherited <= not_only_here


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
