"""The main thread's loop is looked for in its frames, and in no frame of the host's."""

from __future__ import annotations

import asyncio
import sys
from types import CodeType, SimpleNamespace
from typing import Any

import pytest

from liveheap.hosts import asyncio_loop, gevent

HERE: CodeType = (lambda: None).__code__


class Frame:
    """A frame that says whether it was asked for its locals."""

    def __init__(self, filename: str, name: str, found: Any, back: Any = None) -> None:
        self.f_code = HERE.replace(co_filename=filename, co_name=name)
        self.f_back = back
        self.asked = False
        self._locals = {"self": found}

    @property
    def f_locals(self) -> dict[str, Any]:
        self.asked = True
        return self._locals


@pytest.fixture
def loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.mark.parametrize("name", ["run_forever", "run", "work"])
def test_a_frame_of_the_host_is_not_looked_into(name, loop):
    inner = Frame("/srv/shop/app.py", name, loop)
    outer = Frame("/srv/shop/asyncio.py", name, loop, inner)
    assert asyncio_loop.find_waker(outer) is None  # type: ignore[arg-type]
    assert gevent.find_hub(1, outer) is None  # type: ignore[arg-type]
    assert not inner.asked
    assert not outer.asked


def test_a_loop_is_found_in_its_own_frame(loop):
    found = Frame("/usr/lib/python3/asyncio/base_events.py", "run_forever", loop)
    host = Frame("/srv/shop/app.py", "callback", None, found)
    assert asyncio_loop.find_waker(host) == loop.call_soon_threadsafe  # type: ignore[arg-type]
    assert not host.asked


def test_a_loop_written_in_c_is_found_at_its_runner(loop):
    runner = SimpleNamespace(_loop=loop)
    found = Frame("/usr/lib/python3/asyncio/runners.py", "run", runner)
    assert asyncio_loop.find_waker(found) == loop.call_soon_threadsafe  # type: ignore[arg-type]


def test_a_running_loop_of_today_is_found():
    async def find() -> Any:
        return asyncio_loop.find_waker(sys._getframe())

    async def main() -> bool:
        found = await find()
        return found == asyncio.get_running_loop().call_soon_threadsafe

    assert asyncio.run(main())


def test_types_are_counted_without_their_metaclass(monkeypatch):
    calls = []

    class Counting(type):
        def __hash__(cls) -> int:
            calls.append(cls)
            return 1

    made = Counting("Made", (), {})()
    calls.clear()
    monkeypatch.setitem(sys.modules, "greenlet", SimpleNamespace(greenlet=type(made)))
    assert gevent.count_greenlets() is not None
    assert calls == []
