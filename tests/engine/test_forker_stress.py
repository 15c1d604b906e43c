"""Many walks beside threads that hold every lock there is, and nothing left over."""

from forking import program

N_WALKS = 100
N_BUSY_WALKS = 50  # three seconds of processor, on each of six Pythons


def test_no_walk_hangs_beside_busy_threads() -> None:
    with program("busy_threads.py", str(N_BUSY_WALKS)) as worker:
        assert worker.answer() == [[0, "complete"]] * N_BUSY_WALKS


def test_a_hundred_walks_leave_no_file_no_mapping_no_memory() -> None:
    with program("many_walks.py", str(N_WALKS)) as worker:
        answer = worker.answer()
    before, after = answer["before"], answer["after"]
    assert answer["codes"] == ["complete"]
    assert after["files"] == before["files"]
    assert after["shared mappings"] == before["shared mappings"]
    assert after["mappings"] <= before["mappings"] + 4
    assert after["rss_kb"] <= before["rss_kb"] + 2048
