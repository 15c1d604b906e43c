"""Connecting to a Unix socket whose queue is full."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from liveheap_client.errors import TimedOut
from liveheap_client.transport import unix


@pytest.fixture
def full(tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A listener, and the path at which nobody more can queue."""
    path = str(tmp_path / "s")
    with (
        socket.socket(socket.AF_UNIX) as listener,
        socket.socket(socket.AF_UNIX) as one,
    ):
        listener.bind(path)
        listener.listen(0)
        one.connect(path)
        yield listener, path


def test_a_full_queue_is_waited_for(
    full: tuple[socket.socket, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    listener, path = full
    rests: list[float] = []

    def rest(seconds: float) -> None:
        rests.append(seconds)
        if len(rests) == 3:
            listener.accept()[0].close()

    monkeypatch.setattr(unix, "sleep", rest)

    transport = unix.connect(path, timeout=60)

    transport.send(b"here")
    accepted, _ = listener.accept()
    assert accepted.recv(4) == b"here"
    accepted.close()
    transport.close()
    assert len(rests) == 3


def test_a_queue_that_stays_full_is_given_up_after_the_timeout(
    full: tuple[socket.socket, str],
) -> None:
    with pytest.raises(TimedOut, match=r"within 0\.01 s"):
        unix.connect(full[1], timeout=0.01)
