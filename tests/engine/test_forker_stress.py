"""Many walks beside threads that hold every lock there is, and nothing left over."""

import logging
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from forking import DEADLINE_S, finish, walking

N_WALKS = 100


def allocate() -> None:
    [bytes(size) for size in range(600, 60_000, 977)]


def compress() -> None:
    zlib.decompress(zlib.compress(os.urandom(20_000), 6))


@pytest.fixture
def busy_threads(tmp_path: Path) -> Iterator[None]:
    """Six threads that hammer malloc, zlib and a log file."""
    log = logging.getLogger("busy")
    handler = logging.FileHandler(tmp_path / "busy.log")
    log.addHandler(handler)
    log.propagate = False

    def write() -> None:
        log.warning("a line %s", "x" * 200)

    over = threading.Event()

    def repeat(work: Callable[[], None]) -> None:
        while not over.is_set():
            work()

    threads = [
        threading.Thread(target=repeat, args=(work,))
        for work in (allocate, compress, write) * 2
    ]
    for thread in threads:
        thread.start()
    yield
    over.set()
    for thread in threads:
        thread.join()
    log.removeHandler(handler)
    handler.close()


@pytest.mark.usefixtures("busy_threads")
def test_no_walk_hangs_beside_busy_threads() -> None:
    for number in range(N_WALKS):
        with walking(timeout_s=DEADLINE_S) as child:
            status = finish(child)
            assert status["code"] == "complete", (number, status)


def counts() -> dict[str, int]:
    shared = Path("/proc/self/maps").read_text().count("/dev/zero")
    mappings = Path("/proc/self/maps").read_text().count("\n")
    rss_kb = int(Path("/proc/self/statm").read_text().split()[1]) * 4
    return {
        "files": len(os.listdir("/proc/self/fd")),
        "shared mappings": shared,
        "mappings": mappings,
        "rss": rss_kb,
    }


def test_a_hundred_walks_leave_no_file_no_mapping_no_memory() -> None:
    for kind in ("graph", "histogram"):
        with walking(kind) as child:
            finish(child)
    before = counts()
    for number in range(N_WALKS):
        with walking("graph" if number % 2 else "histogram") as child:
            assert finish(child)["code"] == "complete"
    after = counts()
    assert after["files"] == before["files"]
    assert after["shared mappings"] == before["shared mappings"]
    assert after["mappings"] <= before["mappings"] + 4
    assert after["rss"] <= before["rss"] + 2048
