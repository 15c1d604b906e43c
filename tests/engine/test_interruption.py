"""A call that another thread interrupts: in the call, and never after it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

import pytest

from liveheap._heap import Interruption
from liveheap.console.evaluation import do_nothing

ENOUGH = 50


class Late(BaseException):
    """What is raised in the call."""


@contextmanager
def interrupting(call: Interruption) -> Iterator[list[int]]:
    """Interrupt a call again and again, from another thread."""
    over, heard = threading.Event(), [0]

    def run() -> None:
        while not over.is_set():
            heard[0] += call.interrupt(Late)
            time.sleep(0)

    interrupter = threading.Thread(target=run)
    interrupter.start()
    try:
        yield heard
    finally:
        over.set()
        interrupter.join()


@pytest.fixture(autouse=True)
def quick_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def count(to: int) -> int:
    """Be interrupted somewhere, or not."""
    n = 0
    while n < to:
        n += 1
    return n


def test_an_interrupt_is_raised_in_the_call_and_never_after_it():
    call, deadline = Interruption(do_nothing), time.monotonic() + 30
    with interrupting(call) as heard:
        while heard[0] < ENOUGH and time.monotonic() < deadline:
            with suppress(Late):
                call.call(lambda: count(100))
            count(100)
    assert heard[0] >= ENOUGH


def test_a_call_s_own_exception_and_value_come_through():
    call = Interruption(do_nothing)
    assert call.call(lambda: 5) == 5
    with pytest.raises(ZeroDivisionError):
        call.call(lambda: 1 / 0)
    with pytest.raises(RuntimeError, match="running"):
        call.call(lambda: call.call(do_nothing))
    assert call.interrupt(Late) is False


def test_an_interrupt_after_the_last_bytecode_is_not_raised_in_the_caller():
    call = Interruption(do_nothing)
    for _ in range(5):
        assert call.call(partial(call.interrupt, Late)) is True
        assert count(100) == 100


def test_only_one_argument_is_taken():
    with pytest.raises(TypeError):
        Interruption()
    with pytest.raises(TypeError):
        Interruption(do_nothing, settle=do_nothing)
