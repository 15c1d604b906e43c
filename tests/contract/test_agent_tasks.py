"""The registry of what runs: on threads, greenlets and asyncio tasks, over forks."""

from __future__ import annotations

import _thread
import asyncio
import gc
import json
import os
import subprocess
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from liveheap import tasks
from liveheap.tasks import OTHER, Registry

MAIN = threading.main_thread().ident


@pytest.fixture
def registry() -> Iterator[Registry]:
    registry = Registry()
    registry.switch_on(_thread.get_ident, _thread._local, MAIN or 0)
    yield registry
    registry.switch_off()


def fail(*_: object) -> Any:
    raise LookupError("a fault of ours")


class Observer:
    """Notes all begins but those of tasks called unnoted, and rests if told to."""

    def __init__(self, rest_s: float = 0.0) -> None:
        self.heard: list[tuple[str, str, bool]] = []
        self.rest_s = rest_s

    def begin(self, token: tasks.Token) -> None:
        if token.name != "unnoted":
            token.note = self
        self.heard.append(("begin", token.name, token.alone))

    def end(self, token: tasks.Token) -> float:
        assert token.note is self
        self.heard.append(("end", token.name, token.alone))
        return self.rest_s


class Faulty:
    """An observer that raises."""

    def __init__(self, begin: Any = fail, end: Any = fail) -> None:
        self.begin, self.end = begin, end


def names(registry: Registry) -> list[str]:
    return [task.name for task in registry.running()]


def in_a_thread(do: Callable[[], object]) -> None:
    """Run something in a thread, to its end."""
    thread = threading.Thread(target=do)
    thread.start()
    thread.join()


def in_a_child(do: Callable[[], object]) -> Any:
    """Fork, run something in the child, and return what it returned, by JSON."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the child starts no thread
        pid = os.fork()
    if not pid:
        try:
            os.write(writing, json.dumps(do()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        answer = json.loads(file.read())
    os.waitpid(pid, 0)
    return answer


def test_what_has_begun_runs_until_it_ends_and_is_counted_then(registry):
    token = registry.begin("celery", "shop.import_orders", "4711")
    (task,) = registry.running()
    assert (task.kind, task.name, task.id) == ("celery", "shop.import_orders", "4711")
    assert (task.holder, task.address, task.thread) == ("thread", None, MAIN)
    assert registry.done() == {}
    registry.end(token)
    assert registry.running() == ()
    assert registry.done() == {"shop.import_orders": 1}
    registry.end(token)
    assert registry.done() == {"shop.import_orders": 1}


def test_a_task_that_is_renamed_runs_on_and_is_counted_by_its_last_name(registry):
    token = registry.begin("request", "GET")
    before = frozenset(registry.running())
    registry.rename(token, "GET /orders/<int:number>")
    assert names(registry) == ["GET /orders/<int:number>"]
    assert before & frozenset(registry.running()), "it is the same task"
    registry.end(token)
    registry.rename(token, "x" * 10_000)
    assert registry.done() == {"GET /orders/<int:number>": 1}
    again = registry.begin("request", "GET")
    registry.rename(again, "x" * 10_000)
    assert len(names(registry)[0]) == tasks.LONGEST


def test_a_nested_task_gives_way_to_the_one_around_it(registry):
    outer = registry.begin("request", "outer")
    inner = registry.begin("task", "inner")
    assert names(registry) == ["outer", "inner"]
    registry.end(inner)
    assert names(registry) == ["outer"]
    registry.end(outer)
    assert names(registry) == []


def test_tasks_may_end_in_any_order(registry):
    first, second, third = (registry.begin("task", name) for name in "abc")
    registry.end(second)
    assert names(registry) == ["a", "c"]
    registry.end(first)
    assert names(registry) == ["c"]
    registry.end(third)
    assert names(registry) == []
    assert registry._innermost == {}


def test_a_hook_ends_what_runs_here_by_its_kind_and_id(registry):
    registry.begin("celery", "parent", "1")
    registry.begin("celery", "child", "2")
    registry.end_here("celery", "1")
    assert names(registry) == ["child"]
    registry.end_here("request")
    assert names(registry) == ["child"]
    registry.end_here("celery", "2")
    assert names(registry) == []
    registry.begin("celery", "long", "x" * 1000)
    registry.end_here("celery", "x" * 1000)
    assert names(registry) == []


def test_without_an_agent_nothing_is_kept():
    registry = Registry()
    token = registry.begin("task", "shop.import_orders")
    registry.end(token)
    assert token is None
    assert registry.running() == ()
    assert registry.done() == {}


def test_each_of_many_threads_has_its_own_task(registry):
    together, done = threading.Barrier(9), threading.Event()

    def work(number: int) -> None:
        token = registry.begin("task", f"work {number}")
        together.wait()
        done.wait()
        registry.end(token)

    threads = [threading.Thread(target=work, args=(each,)) for each in range(8)]
    for thread in threads:
        thread.start()
    together.wait()
    by_thread = {task.thread: task.name for task in registry.running()}
    done.set()
    for thread in threads:
        thread.join()
    assert by_thread == {
        thread.ident: f"work {number}" for number, thread in enumerate(threads)
    }
    assert names(registry) == []


def test_the_task_of_a_thread_that_is_gone_runs_no_more(registry):
    idents = set()

    def vanish() -> None:
        idents.add(threading.get_ident())
        assert registry.find_here("task") is None
        registry.begin("task", "never ended")

    for _ in range(20):
        in_a_thread(vanish)
    assert len(idents) < 20, "the test needs an ident that is used again"
    assert registry.running() == ()
    assert registry._innermost == {}


def test_each_of_many_asyncio_tasks_has_its_own_task(registry):
    async def work(number: int, last: asyncio.Event) -> tuple[int, list[str]]:
        token = registry.begin("request", f"GET /{number}")
        if number == 7:
            last.set()
        await last.wait()
        address = id(asyncio.current_task())
        mine = [task for task in registry.running() if task.address == address]
        assert len(registry.running()) == 8
        await asyncio.sleep(0)
        registry.end(token)
        return number, [task.name for task in mine]

    async def all_of_them() -> list[tuple[int, list[str]]]:
        last = asyncio.Event()
        return await asyncio.gather(*(work(each, last) for each in range(8)))

    for number, mine in asyncio.run(all_of_them()):
        assert mine == [f"GET /{number}"]
    assert registry._innermost == {}


def test_ten_thousand_short_greenlets_are_never_credited_with_anothers_task(registry):
    greenlet = pytest.importorskip("greenlet")
    addresses = set()

    def work(name: str, *, ends: bool) -> None:
        assert registry.find_here("task") is None
        token = registry.begin("task", name)
        (task,) = registry.running()
        assert (task.name, task.holder) == (name, "greenlet")
        assert task.address == id(greenlet.getcurrent())
        addresses.add(task.address)
        if ends:
            registry.end(token)

    for number in range(10_000):
        greenlet.greenlet(work).switch(f"task {number % 10}", ends=number % 3 > 0)
        if number % 1000 == 0:
            assert registry.running() == ()
    assert len(addresses) < 10_000, "the test needs an address that is used again"
    assert registry._innermost == {}


def test_a_dead_greenlet_that_somebody_keeps_runs_nothing(registry):
    greenlet = pytest.importorskip("greenlet")
    dead = greenlet.greenlet(lambda: registry.begin("task", "never ended"))
    dead.switch()
    count = sys.getrefcount(dead)
    assert registry.running() == ()
    assert sys.getrefcount(dead) == count


def test_after_ten_thousand_tasks_with_errors_and_kills_only_live_ones_are_left(
    registry,
):
    gevent = pytest.importorskip("gevent")
    freed = []

    class Argument:
        pass

    def work(number: int, argument: Argument) -> None:
        weakref.finalize(argument, freed.append, None)
        token = registry.begin("celery", f"work {number % 4}", str(number))
        try:
            gevent.sleep(0 if number % 4 < 2 else 600)
            if number % 4 == 1:
                raise ValueError(number)
        except ValueError:
            return
        finally:
            if number % 4 != 3:  # as if nobody told
                registry.end(token)

    for start in range(0, 10_000, 500):
        batch = [gevent.spawn(work, start + each, Argument()) for each in range(500)]
        gevent.sleep(0)
        gevent.sleep(0)
        assert len(registry.running()) == 250
        gevent.killall(batch)
        assert registry.running() == ()
    live = gevent.spawn(work, 2, Argument())
    gevent.sleep(0)
    assert names(registry) == ["work 2"]
    live.kill()
    del batch, live
    gevent.sleep(0)
    gc.collect()
    assert len(freed) == 10_001
    assert registry._innermost == {}


def test_what_is_ended_on_another_thread_is_over(registry):
    def labelled() -> Iterator[None]:
        token = registry.begin("task", "generator")
        try:
            yield
        finally:
            registry.end(token)

    generator = labelled()
    next(generator)
    assert names(registry) == ["generator"]
    in_a_thread(generator.close)
    assert names(registry) == []
    assert registry.done() == {"generator": 1}


def test_a_child_begins_anew_but_for_what_runs_on_the_thread_that_forked(registry):
    started, done = threading.Event(), threading.Event()

    def elsewhere() -> None:
        token = registry.begin("task", "on another thread")
        started.set()
        done.wait()
        registry.end(token)

    def child() -> object:
        registry.after_fork_in_child()
        before = names(registry), dict(registry.done())
        registry.end(outer)
        registry.end(registry.begin("rq", "job"))
        return [*before, names(registry), dict(registry.done())]

    registry.end(registry.begin("task", "earlier"))
    outer = registry.begin("task", "forks")
    thread = threading.Thread(target=elsewhere)
    thread.start()
    started.wait()
    answer = in_a_child(child)
    done.set()
    thread.join()
    assert answer == [["forks"], {}, [], {"forks": 1, "job": 1}]
    assert names(registry) == ["forks"]
    assert registry.done() == {"earlier": 1, "on another thread": 1}


def test_names_are_counted_up_to_a_bound(registry):
    for number in range(2 * tasks.MAX_NAMES):
        registry.end(registry.begin("task", f"report {number}"))
    done = registry.done()
    assert len(done) == tasks.MAX_NAMES + 1
    assert done[OTHER] == tasks.MAX_NAMES
    assert sum(done.values()) == 2 * tasks.MAX_NAMES


def test_tasks_beyond_the_bound_of_names_are_counted_as_overlapped_beside_those_done(
    registry,
):
    for number in range(tasks.MAX_NAMES):
        registry.end(registry.begin("task", f"report {number}"))
    beside(registry, lambda: registry.end(registry.begin("task", "short")))
    assert registry.overlapped() == {OTHER: 2}
    assert registry.done()[OTHER] == 2


def test_depth_and_length_are_bounded(registry):
    deep = [registry.begin("task", "x" * 10_000, "y" * 10_000) for _ in range(100)]
    assert len(registry.running()) == tasks.MAX_DEPTH
    assert len(registry.running()[0].name) == tasks.LONGEST
    assert len(registry.running()[0].id or "") == tasks.LONGEST
    for token in reversed(deep):
        registry.end(token)
    assert registry._innermost == {}


def test_holders_are_bounded(monkeypatch):
    greenlet = pytest.importorskip("greenlet")
    monkeypatch.setattr(tasks, "MAX_HOLDERS", 10)
    registry = Registry()
    registry.switch_on(_thread.get_ident, _thread._local, MAIN or 0)
    main = greenlet.getcurrent()

    def work() -> None:
        token = registry.begin("task", "work")
        main.switch()
        registry.end(token)

    live = [greenlet.greenlet(work) for _ in range(20)]
    for each in live:
        each.switch()
    assert len(registry.running()) == 10
    for each in live:
        each.switch()
    assert registry._innermost == {}


def test_an_observer_hears_of_begins_and_of_ends_if_it_left_a_note(registry):
    observer = Observer()
    registry.observe(observer)
    outer = registry.begin("task", "outer")
    registry.end(registry.begin("task", "inner"))
    registry.end(registry.begin("task", "unnoted"))
    registry.end(outer)
    registry.switch_off()
    registry.end(registry.begin("task", "unheard"))
    assert observer.heard == [
        ("begin", "outer", True),
        ("begin", "inner", True),
        ("end", "inner", True),
        ("begin", "unnoted", True),
        ("end", "outer", True),
    ]


def test_an_observer_is_not_asked_while_it_rests(registry):
    observer = Observer(rest_s=float("inf"))
    registry.observe(observer)
    for name in "abc":
        registry.end(registry.begin("task", name))
    assert [heard[:2] for heard in observer.heard] == [("begin", "a"), ("end", "a")]
    registry.observe(observer)
    registry.end(registry.begin("task", "still resting"))
    assert len(observer.heard) == 2
    registry.after_fork_in_child()
    registry.end(registry.begin("task", "again"))
    assert [name for _, name, _ in observer.heard[2:]] == ["again", "again"]


def beside(registry: Registry, do: Callable[[], object]) -> None:
    """Do something in a thread while another one's task runs there."""
    token = registry.begin("task", "long")
    in_a_thread(do)
    registry.end(token)


def test_a_task_that_another_began_beside_was_not_alone(registry):
    observer = Observer()
    registry.observe(observer)

    def short() -> None:
        registry.end(registry.begin("task", "short"))

    beside(registry, short)
    assert observer.heard == [("begin", "long", True), ("end", "long", False)]
    assert registry.overlapped() == {"long": 1, "short": 1}
    registry.end(registry.begin("task", "short"))
    assert registry.overlapped() == {"long": 1, "short": 1}
    assert registry.done() == {"long": 1, "short": 2}


def test_a_part_of_a_task_is_no_task_beside_it(registry):
    outer = registry.begin("request", "GET")
    registry.end(registry.begin("task", "part"))
    registry.end(outer)
    assert registry.overlapped() == {}


def test_an_overlapped_task_counts_under_the_name_that_it_has_in_the_end(registry):
    def request() -> None:
        token = registry.begin("request", "GET")
        registry.rename(token, "GET /orders")
        registry.end(token)

    beside(registry, request)
    assert registry.overlapped() == {"long": 1, "GET /orders": 1}


def test_a_fault_of_ours_is_not_the_hosts(registry, monkeypatch):
    class Odd:
        def __str__(self) -> str:
            raise ValueError("no name")

    assert registry.begin("task", Odd()) is None
    assert registry.find_here("task", Odd()) is None
    registry.end_here("task", Odd())
    for end in (fail, lambda _: "no number"):
        registry.observe(Faulty(end=end))
        token = registry.begin("task", "observed")
        assert token.note is None
        token.note = "somebody's"
        registry.end(token)
    assert registry.done() == {"observed": 2}
    kind = SimpleNamespace(parent=property())
    ours = SimpleNamespace(getcurrent=fail, greenlet=kind)
    monkeypatch.setitem(sys.modules, "greenlet", ours)
    assert registry.begin("task", "lost") is None
    assert registry.find_here("task") is None
    assert registry.here() == 0
    registry.end_here("task")
    assert registry.innermost_here() is None


def test_a_time_limit_that_strikes_in_our_code_reaches_the_host(registry):
    class TimeLimitExceeded(Exception):
        pass

    def strike(*_: object) -> Any:
        raise TimeLimitExceeded

    registry.observe(Faulty(begin=strike))
    with pytest.raises(TimeLimitExceeded):
        registry.begin("celery", "shop.import_orders")
    assert registry._innermost == {}
    registry.observe(Faulty(end=strike))
    token = registry.begin("celery", "shop.import_orders")
    token.note = "left by an observer"
    with pytest.raises(TimeLimitExceeded):
        registry.end(token)
    assert registry._innermost == {}
    assert registry.done() == {"shop.import_orders": 1}


def test_what_is_no_token_cannot_be_ended(registry):
    registry.end(None)
    for wrong in (object(), weakref.ref(registry)):
        with pytest.raises(TypeError):
            registry.end(wrong)
        with pytest.raises(TypeError):
            registry.rename(wrong, "name")
    with pytest.raises(TypeError):
        type(registry.begin("task", "real"))(registry)


def test_other_sources_are_asked_too_and_may_fail(registry):
    mine = tasks.Task("mrq", "jobs.Import", "a1", 0.0, 1, "greenlet", 4711, ())
    stops = [registry.add_source(lambda: (mine,)), registry.add_source(fail)]
    registry.begin("task", "work")
    assert names(registry) == ["jobs.Import", "work"]
    for stop in stops:
        stop()
    assert names(registry) == ["work"]


def test_when_the_agent_stops_everything_is_forgotten(registry):
    token = registry.begin("task", "work")
    registry.switch_off()
    registry.end(token)
    assert registry.running() == ()
    assert registry.done() == {}
    registry.switch_on(_thread.get_ident, _thread._local, MAIN or 0)
    registry.end(token)
    assert registry.begin("task", "again") is not None
    assert names(registry) == ["again"]


WITHOUT_ENGINE = """
import sys
sys.modules["liveheap._heap"] = None
import liveheap
from liveheap import tasks
from liveheap.hosts import gevent_spawn, requests
liveheap.start(strict=True)
with liveheap.task("work"):
    requests.end(requests.begin("GET"))
    gevent_spawn.HEIRS.note(object())
    print(tasks.running(), tasks.done(), tasks.overlapped())
tasks.REGISTRY.after_fork_in_child()
liveheap.stop()
"""


def test_without_the_engine_the_agent_works_and_labels_nothing(tmp_path):
    environ = {**os.environ, "LIVEHEAP_DIR": str(tmp_path)}
    told = subprocess.run(
        [sys.executable, "-c", WITHOUT_ENGINE],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (told.returncode, told.stdout) == (0, "() {} {}\n"), told.stderr
