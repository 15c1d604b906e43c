"""Many walks beside threads that hold every lock there is, and nothing left over."""

import os
from pathlib import Path

from forking import finish, program, walking

N_WALKS = 100


def test_no_walk_hangs_beside_busy_threads() -> None:
    with program("busy_threads.py", str(N_WALKS)) as worker:
        assert worker.answer() == [[0, "complete"]] * N_WALKS


def counts() -> dict[str, int]:
    maps = Path("/proc/self/maps").read_text()
    rss_kb = int(Path("/proc/self/statm").read_text().split()[1]) * 4
    return {
        "files": len(os.listdir("/proc/self/fd")),
        "shared mappings": maps.count("/dev/zero"),
        "mappings": maps.count("\n"),
        "rss": rss_kb,
    }


def test_a_hundred_walks_leave_no_file_no_mapping_no_memory() -> None:
    for kind in ("graph", "histogram"):
        with walking(kind) as child:
            finish(child)
    before = counts()
    for number in range(N_WALKS):
        with walking("graph" if number % 2 else "histogram") as child:
            status = finish(child)
            assert status["code"] == "complete", (number, status)
    after = counts()
    assert after["files"] == before["files"]
    assert after["shared mappings"] == before["shared mappings"]
    assert after["mappings"] <= before["mappings"] + 4
    assert after["rss"] <= before["rss"] + 2048
