"""What the agent asks the kernel about its own process, in one go and call by call."""

import os
import time
from pathlib import Path

import pytest

from liveheap import process


@pytest.fixture(params=["the engine", "plain calls"])
def _by(request, monkeypatch):
    if request.param == "plain calls":
        monkeypatch.setattr(process, "_heap", None)


@pytest.mark.usefixtures("_by")
def test_facts_are_those_that_proc_tells():
    text = Path("/proc/self/status").read_text()
    status = dict(line.split(":", 1) for line in text.splitlines())
    found = process.look()
    assert found.threads == int(status["Threads"])
    assert found.rss == pytest.approx(int(status["VmRSS"].split()[0]) * 1024, rel=0.1)
    assert found.descriptors == len(os.listdir("/proc/self/fd")) - 1
    assert 0 < found.uptime < 3600
    assert found.started == pytest.approx(time.time() - found.uptime, abs=0.3)


@pytest.mark.usefixtures("_by")
def test_the_size_is_what_a_look_tells():
    rss, descriptors = process.size()
    found = process.look()
    assert rss == pytest.approx(found.rss, rel=0.1)
    assert descriptors == found.descriptors


@pytest.mark.usefixtures("_by")
def test_a_descriptor_opened_is_one_more():
    before = process.look().descriptors
    with open(os.devnull):
        assert process.look().descriptors == before + 1
    assert process.look().descriptors == before


@pytest.mark.usefixtures("_by")
def test_a_log_that_is_full_makes_room_for_the_next_line(tmp_path):
    log = tmp_path / "audit.log"
    for line in (b"one\n", b"two\n", b"six\n"):
        process.append(str(log), line, 8)
    assert log.read_bytes() == b"six\n"
    assert (tmp_path / "audit.log.1").read_bytes() == b"one\ntwo\n"
    assert log.stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("_by")
def test_a_line_never_goes_through_a_link(tmp_path):
    (tmp_path / "audit.log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        process.append(str(tmp_path / "audit.log"), b"line\n", 100)
    assert not (tmp_path / "elsewhere").exists()
