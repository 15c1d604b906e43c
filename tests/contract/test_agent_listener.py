"""The agent's socket: whoever finds its name can connect."""

import os
import socket
from pathlib import Path

import pytest

from liveheap.agent import listener, lobby
from liveheap.agent.stream import Stream
from liveheap.protocol.auth import AgentHandshake, Scope
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


class Clock:
    """Stands in for time.monotonic."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(lobby.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def visitor(transport: str) -> lobby.Visitor:
    near, far = socket.socketpair()
    far.close()
    stream = Stream(near, idle_s=60)
    handshake = AgentHandshake(bytes, "host:1:1:x", Scope.READ)
    return lobby.Visitor(stream, handshake, {"transport": transport}, bool)


def test_a_full_lobby_gives_everybody_a_moment_and_then_shows_out_who_came_first(
    clock: Clock,
) -> None:
    room = lobby.Lobby(lambda _: None)
    guests = []
    for number in range(lobby.MAX_UNAUTHENTICATED):
        assert room.opens_at("unix") <= clock.now
        assert room.make_room("unix") is None
        guests.append(visitor("unix"))
        room.enter(guests[-1])
        clock.now += 0.001 * (number == 0)
    first = guests[0].stream.fileno()

    assert room.opens_at("unix") == guests[0].came + lobby.GRACE_S
    assert room.opens_at("tcp") <= clock.now
    assert room.make_room("tcp") is None
    assert room.make_room("unix") == first
    assert first not in room.visitors
    assert room.failures == 1
    assert len(room.visitors) == lobby.MAX_UNAUTHENTICATED - 1
    room.close()


def test_strangers_together_get_a_share_of_a_processor(clock: Clock) -> None:
    allowance = lobby.Allowance()
    assert allowance.returns_at() <= clock.now
    allowance.spend(lobby.SAVED_UP_S + 0.02)

    waits_s = allowance.returns_at() - clock.now
    assert waits_s == pytest.approx(0.02 / lobby.SHARE)
    clock.now += waits_s + 0.001
    allowance.spend(0)
    assert allowance.returns_at() <= clock.now
    clock.now += 1e6
    allowance.spend(lobby.SAVED_UP_S + 0.001)
    assert allowance.returns_at() > clock.now
