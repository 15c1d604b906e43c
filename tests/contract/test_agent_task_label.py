"""`liveheap.task`: around a block, and around functions of every kind."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
from contract.agent_under_test import make_agent, session_of
from contract.fake_heap import FakeHeap

import liveheap
from liveheap import tasks
from liveheap.agent import native
from liveheap.protocol.auth import Scope


@pytest.fixture(autouse=True)
def registry() -> Iterator[tasks.Registry]:
    found = native.find()
    local = native.original("_thread", "_local")
    tasks.REGISTRY.switch_on(found.ident, local, found.main_ident)
    yield tasks.REGISTRY
    assert tasks.running() == ()
    tasks.REGISTRY.switch_off()


def running() -> list[tuple[str, str | None]]:
    assert {task.kind for task in tasks.running()} <= {"task"}
    return [(task.name, task.id) for task in tasks.running()]


def test_a_block_is_labelled_while_it_runs():
    with liveheap.task("import orders", id="4711"):
        assert running() == [("import orders", "4711")]
        with liveheap.task("inner"):
            assert running() == [("import orders", "4711"), ("inner", None)]
    assert running() == []
    assert tasks.done() == {"import orders": 1, "inner": 1}


def test_an_exception_passes_through_and_ends_the_task():
    def fail() -> None:
        with liveheap.task("import orders"):
            raise ValueError("no orders")

    with pytest.raises(ValueError, match="no orders"):
        fail()
    assert tasks.done() == {"import orders": 1}


def test_a_function_is_labelled_at_each_call():
    @liveheap.task("total")
    def total(first: int, *, second: int = 2) -> list[object]:
        """Add."""
        return [first + second, running()]

    assert total(1) == [3, [("total", None)]]
    assert total(1, second=5) == [6, [("total", None)]]
    assert (total.__name__, total.__doc__) == ("total", "Add.")
    assert list(inspect.signature(total).parameters) == ["first", "second"]
    assert tasks.done() == {"total": 2}


def test_a_method_is_labelled_too():
    class Shop:
        @liveheap.task("Shop.orders")
        def orders(self) -> list[tuple[str, str | None]]:
            return running()

    assert Shop().orders() == [("Shop.orders", None)]


def test_recursion_ends_as_often_as_it_begins():
    @liveheap.task("walk")
    def walk(depth: int) -> int:
        return len(running()) if not depth else walk(depth - 1)

    assert walk(10) == 11
    assert walk(2 * tasks.MAX_DEPTH) == tasks.MAX_DEPTH


def test_a_coroutine_is_labelled_while_it_runs_and_waits():
    @liveheap.task("fetch")
    async def fetch() -> list[tuple[str, str | None]]:
        await asyncio.sleep(0)
        return running()

    async def main() -> None:
        made = fetch()
        assert running() == []
        assert await made == [("fetch", None)]
        assert running() == []
        waiting = asyncio.ensure_future(fetch())
        await asyncio.sleep(0)
        assert running() == [("fetch", None)]
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    assert inspect.iscoroutinefunction(fetch)
    asyncio.run(main())


def test_a_generator_is_labelled_from_its_first_item_to_its_end():
    closed = []

    @liveheap.task("rows")
    def rows() -> Iterator[object]:
        try:
            sent = yield running()
            yield sent
        except KeyError:
            yield "caught"
        finally:
            closed.append(True)

    generator = rows()
    assert running() == []
    assert next(generator) == [("rows", None)]
    assert generator.send("word") == "word"
    assert generator.throw(KeyError()) == "caught"
    generator.close()
    assert closed == [True]
    assert running() == []
    assert len(list(rows())) == 2
    assert tasks.done() == {"rows": 2}


def test_an_async_generator_passes_on_what_goes_in_and_out():
    closed = []

    @liveheap.task("events")
    async def events() -> AsyncIterator[object]:
        sent = None
        try:
            while sent != "stop":
                try:
                    sent = yield sent
                except KeyError:
                    sent = "caught"
        finally:
            closed.append(running())

    async def main() -> None:
        generator = events()
        assert await generator.__anext__() is None
        assert running() == [("events", None)]
        assert await generator.asend("word") == "word"
        assert await generator.athrow(KeyError()) == "caught"
        with pytest.raises(StopAsyncIteration):
            await generator.asend("stop")
        assert running() == []
        half = events()
        await half.__anext__()
        await half.aclose()
        with pytest.raises(ValueError, match="mine"):
            await failing().__anext__()

    @liveheap.task("failing")
    async def failing() -> AsyncIterator[None]:
        raise ValueError("mine")
        yield

    assert inspect.isasyncgenfunction(events)
    asyncio.run(main())
    assert closed == [[("events", None)]] * 2


def test_one_label_may_be_in_use_on_many_threads_at_once():
    label, together = liveheap.task("shared"), threading.Barrier(8)
    seen = []

    def work() -> None:
        with label:
            together.wait()
            seen.append(len(running()))
            together.wait()
            together.wait()

    threads = [threading.Thread(target=work) for _ in range(7)]
    for thread in threads:
        thread.start()
    with label:
        together.wait()
        together.wait()
    assert len(running()) == 7
    together.wait()
    for thread in threads:
        thread.join()
    assert tasks.done() == {"shared": 8}


def test_without_an_agent_a_label_is_nothing_but_a_call_more(registry):
    registry.switch_off()

    @liveheap.task("total")
    def total(first: int) -> int:
        return first + 1

    with liveheap.task("block"):
        assert total(1) == 2
    assert tasks.running() == ()
    assert tasks.done() == {}


def test_only_a_name_that_there_is_can_be_had():
    with pytest.raises(AttributeError, match="no attribute 'tusk'"):
        liveheap.tusk  # noqa: B018 -- asked for its error


def test_status_tells_what_runs_and_ids_only_in_scope_graph(registry, tmp_path):
    agent = make_agent(tmp_path, FakeHeap())

    def status(scope: Scope) -> dict:
        with session_of(agent, scope) as client:
            return client.request("status").as_dict()

    assert "running" not in status(Scope.GRAPH)
    with liveheap.task("earlier"):
        pass
    with liveheap.task("import orders", id="order 4711"):
        graph, read = status(Scope.GRAPH), status(Scope.READ)
    for facts, task_id in ((graph, "order 4711"), (read, None)):
        (task,) = facts["tasks"]
        assert (task["kind"], task["name"]) == ("task", "import orders")
        assert (task["id"], task["thread"]) == (task_id, os.getpid())
        assert 0 <= task["seconds"] < 60
        assert (facts["running"], facts["done"]) == (1, 1)
        assert facts["done_by_name"] == [{"name": "earlier", "count": 1}]
    assert "order 4711" not in str(read)


def test_status_tells_of_the_longest_hundred_and_how_many_there_are(registry, tmp_path):
    agent = make_agent(tmp_path, FakeHeap())
    greenlet = pytest.importorskip("greenlet")
    main = greenlet.getcurrent()

    @liveheap.task("work")
    def work() -> None:
        main.switch()

    live = [greenlet.greenlet(work) for _ in range(150)]
    for each in live:
        each.switch()
    with session_of(agent) as client:
        facts = client.request("status").as_dict()
    for each in live:
        each.switch()
    assert facts["running"] == 150
    assert [task["address"] for task in facts["tasks"]] == [id(g) for g in live[:100]]


def test_one_label_may_be_around_itself():
    label = liveheap.task("again")
    with label:
        with label:
            assert len(running()) == 2
        assert len(running()) == 1
    assert tasks.done() == {"again": 2}
