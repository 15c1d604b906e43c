"""The agent's socket: whoever finds its name can connect."""

import os
import socket
from pathlib import Path

import pytest

from liveheap.agent import listener
from liveheap.registry import MAX_SOCKET_PATH


def connects(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
        return True


def test_a_socket_listens_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "7-9.sock")
    seen: list[tuple[bool, bool]] = []

    def rename(old: str, new: str) -> None:
        seen.append((connects(old), os.path.lexists(new)))
        os.replace(old, new)

    monkeypatch.setattr(listener.os, "rename", rename)
    opened = listener.open_unix(path)

    assert seen == [(True, False)]
    assert connects(path)
    assert os.listdir(tmp_path) == ["7-9.sock"]
    opened.close()


def test_a_name_as_long_as_a_socket_may_have_leaves_room_for_the_first_one(
    tmp_path: Path,
) -> None:
    name = "7-9.sock"
    folder = tmp_path / ("f" * (MAX_SOCKET_PATH - len(str(tmp_path)) - len(name) - 2))
    folder.mkdir()
    path = str(folder / name)
    assert len(path) == MAX_SOCKET_PATH

    opened = listener.open_unix(path)

    assert connects(path)
    opened.close()


def test_what_had_the_name_is_replaced_and_a_failure_leaves_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "7-9.sock"
    path.write_text("stale")
    listener.open_unix(str(path)).close()
    assert path.is_socket()

    taken = tmp_path / "8-9.sock"
    taken.mkdir()
    with pytest.raises(OSError, match="directory"):
        listener.open_unix(str(taken))
    assert sorted(os.listdir(tmp_path)) == ["7-9.sock", "8-9.sock"]
