"""Where root puts an agent for another user, who may wait there for a mistake."""

import os
from pathlib import Path

import pytest

from liveheap import registry
from liveheap_client.errors import InjectError
from liveheap_client.inject import place
from liveheap_client.inject.process import Process, Python

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root serves another user")


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Process:
    """This process, as if it were nobody's, with one place for an agent."""
    monkeypatch.setattr(place, "PARENTS", (str(tmp_path),))
    pid = os.getpid()
    began = registry.start_time(pid)
    assert began is not None
    return Process(pid, pid, NOBODY, NOBODY, began, "app.py", Python((3, 12)))


@as_root
def test_a_directory_that_its_user_exchanges_at_once_gets_nothing(
    process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / f"liveheap-{NOBODY}"
    make = os.mkdir

    def make_and_lose(name: str, mode: int, *, dir_fd: int) -> None:
        make(name, mode, dir_fd=dir_fd)
        if name.startswith("agent-"):
            (home / name).rename(home / "theirs")
            make(name, mode, dir_fd=dir_fd)
            os.chown(home / name, NOBODY, NOBODY)

    monkeypatch.setattr(os, "mkdir", make_and_lose)

    with (
        pytest.raises(InjectError, match="exchanged"),
        place.place_for(process, 0) as found,
    ):
        found.write("liveheap/__init__.py", b"")

    assert os.listdir(home) == ["theirs"]
    assert os.listdir(home / "theirs") == []


@as_root
def test_a_pipe_that_was_exchanged_is_not_given_away(
    process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    precious = tmp_path / "precious"
    precious.touch(0o600)

    def make_another(name: str, _mode: int, *, dir_fd: int) -> None:
        os.link(precious, name, dst_dir_fd=dir_fd)

    with place.place_for(process, 0) as found:
        monkeypatch.setattr(os, "mkfifo", make_another)
        with pytest.raises(InjectError, match="exchanged"):
            found.make_fifo("report")
    assert precious.stat().st_uid == 0
