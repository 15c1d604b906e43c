"""Shaking hands with whoever answers, who may be a stranger at a squatted port."""

import itertools

import pytest

from liveheap.protocol.auth import MAGIC, Scope
from liveheap_client import reach
from liveheap_client.errors import TimedOut
from liveheap_client.patience import Patience
from liveheap_client.transport.base import Transport


class Dripping(Transport):
    """Somebody who begins as an agent does, and says a byte now and then, for ever."""

    def __init__(self) -> None:
        head = MAGIC + bytes([1, 0]) + (500).to_bytes(2, "little")
        self.bytes_sent = 0
        self._said = itertools.chain(head, itertools.repeat(0))

    def send(self, data: bytes) -> None:
        assert data.startswith(MAGIC)

    def receive(self, *, timeout: float) -> bytes:
        self.bytes_sent += 1
        return bytes([next(self._said)])

    def end_sending(self) -> None:
        """Nothing more is said here."""

    def why_ended(self) -> Exception:
        return AssertionError("it never ends")

    def close(self) -> None:
        """There is nothing to close."""


def test_who_answers_byte_by_byte_has_the_time_of_one_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stranger = Dripping()
    monkeypatch.setattr(reach, "monotonic", lambda: 50.0 * stranger.bytes_sent)
    how = reach.Reach({}, Scope.READ, patience=Patience(timeout_s=60))

    with pytest.raises(TimedOut, match="waited 60 s"):
        reach.shake_hands(stranger, bytes(32), reach.Expected(), how)

    assert stranger.bytes_sent == 2
