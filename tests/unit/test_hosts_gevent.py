"""Counting greenlets, beside a host that makes objects meanwhile."""

import sys
import threading
import time
from collections.abc import Iterator

import pytest

from liveheap.hosts import gevent

LONG_ENOUGH_S = 0.5


@pytest.fixture
def eager() -> Iterator[None]:
    """Let threads take turns as often as can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("eager")
def test_a_tuple_that_the_host_is_filling_is_nobody_elses_for_a_moment() -> None:
    pytest.importorskip("greenlet")
    over = threading.Event()

    def count() -> None:
        while not over.is_set():
            gevent.count_greenlets()

    counting = threading.Thread(target=count)
    counting.start()
    try:
        end = time.monotonic() + LONG_ENOUGH_S
        while time.monotonic() < end:
            assert tuple(number for number in range(50))[-1] == 49
    finally:
        over.set()
        counting.join()
