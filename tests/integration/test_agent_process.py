"""What the agent asks the kernel about its own process, in one go and call by call.

pytest's own threads come and go, and so does the memory of this process: what may
change between two looks is asked for until both saw the same.
"""

import fcntl
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from spawn import eventually

from liveheap import process


@pytest.fixture(params=["the engine", "plain calls"])
def _by(request, monkeypatch):
    if request.param == "plain calls":
        monkeypatch.setattr(process, "_heap", None)


@pytest.mark.usefixtures("_by")
def test_facts_are_those_that_proc_tells():
    def agrees() -> bool:
        text = Path("/proc/self/status").read_text()
        status = dict(line.split(":", 1) for line in text.splitlines())
        found = process.look()
        return (
            found.threads == int(status["Threads"])
            and found.rss == pytest.approx(int(status["VmRSS"].split()[0]) * 1024, 0.1)
            and found.descriptors == len(os.listdir("/proc/self/fd")) - 1
        )

    eventually(agrees, what="two looks at one moment")
    before = time.time()
    found = process.look()
    started, after = found.started, time.time()
    assert 0 < found.uptime < 3600
    assert before - found.uptime - 0.2 < started < after - found.uptime + 0.2


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let this process write no file beyond a size, as on a disk that gets full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("_by")
def test_the_size_is_what_a_look_tells():
    def agrees() -> bool:
        (rss, descriptors), found = process.size(), process.look()
        return rss == pytest.approx(found.rss, 0.1) and descriptors == found.descriptors

    eventually(agrees, what="two looks at one moment")


@pytest.mark.usefixtures("_by")
def test_a_descriptor_opened_is_one_more():
    def is_one_more() -> bool:
        before = process.look().descriptors
        with open(os.devnull):
            more = process.look().descriptors - before
        return (more, process.look().descriptors) == (1, before)

    eventually(is_one_more, what="nobody else opens or closes one meanwhile")


@pytest.mark.usefixtures("_by")
def test_a_line_that_a_full_disk_cuts_short_is_not_there_at_all(tmp_path):
    log = tmp_path / "audit.log"
    process.append(str(log), b"one\n", 1000)
    with files_of_at_most(10):
        with pytest.raises(OSError, match=r"space|large"):
            process.append(str(log), b"a line of two dozen bytes\n", 1000)
        process.append(str(log), b"two\n", 1000)
    process.append(str(log), b"three\n", 1000)
    assert log.read_bytes() == b"one\ntwo\nthree\n"


@pytest.mark.usefixtures("_by")
def test_a_log_that_is_full_makes_room_for_the_next_line(tmp_path):
    log = tmp_path / "audit.log"
    for line in (b"one\n", b"two\n", b"six\n"):
        process.append(str(log), line, 8)
    assert log.read_bytes() == b"six\n"
    assert (tmp_path / "audit.log.1").read_bytes() == b"one\ntwo\n"
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_full_log_is_put_away_by_one_and_the_others_lose_no_line(tmp_path):
    log = tmp_path / "audit.log"
    process.append(str(log), b"one\n", 8)
    process.append(str(log), b"two\n", 8)
    with log.open("rb") as held:  # by another worker, about to rename it
        fcntl.flock(held, fcntl.LOCK_EX)
        process.append(str(log), b"six\n", 8)
    assert log.read_bytes() == b"one\ntwo\nsix\n"
    process.append(str(log), b"ten\n", 8)
    assert log.read_bytes() == b"ten\n"
    assert (tmp_path / "audit.log.1").read_bytes() == b"one\ntwo\nsix\n"


def test_workers_that_find_a_log_full_at_once_all_write_their_lines(tmp_path):
    program = (
        "import sys\n"
        "from liveheap import process\n"
        "sys.stdin.read()\n"
        "for _ in range(500): process.append(sys.argv[1], b'a line\\n', 20)"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "audit.log")]
    workers = [
        subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for worker in workers:
        worker.stdin.close()  # now
        worker.stdin = None
    said = [worker.communicate(timeout=60)[1] for worker in workers]
    assert said == [b""] * 4


@pytest.mark.usefixtures("_by")
def test_a_line_never_goes_through_a_link(tmp_path):
    (tmp_path / "audit.log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        process.append(str(tmp_path / "audit.log"), b"line\n", 100)
    assert not (tmp_path / "elsewhere").exists()
