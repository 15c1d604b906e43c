"""The C half of the registry of tasks, where memory could be touched too late."""

from __future__ import annotations

import _thread
import gc
import random
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from liveheap._heap import Labels
from liveheap.tasks import OUR_ERRORS, Registry

ROUNDS = 2000


@pytest.fixture
def registry() -> Iterator[Registry]:
    registry = Registry()
    registry.switch_on(_thread.get_ident, _thread._local, 0)
    yield registry
    registry.switch_off()


def bare(**changed: Any) -> Labels:
    """Labels that are on, without what Python adds to them."""
    settings = {
        **{"errors": OUR_ERRORS, "other": "(other)", "longest": 10},
        **{"max_depth": 3, "max_holders": 3, "max_names": 3},
    }
    labels = Labels(**{**settings, **changed})
    labels.is_on = True
    return labels


def in_a_thread(do: Any) -> None:
    thread = threading.Thread(target=do)
    thread.start()
    thread.join()


def test_a_registry_in_a_circle_is_collected_with_its_tokens() -> None:
    registry = Registry()
    registry.switch_on(_thread.get_ident, _thread._local, 0)
    token = registry.begin("task", "runs")
    assert token is not None
    token.note = (registry, token)
    gone = weakref.ref(registry)

    del registry, token
    gc.collect()

    assert gone() is None


def test_a_token_outlives_its_registry() -> None:
    registry = Registry()
    registry.switch_on(_thread.get_ident, _thread._local, 0)
    outer, inner = (registry.begin("task", name, "1") for name in ("outer", "inner"))
    del registry
    gc.collect()

    assert outer is not None
    assert inner is not None
    assert inner.outer is outer
    assert (inner.name, inner.id, inner.depth, inner.over) == ("inner", "1", 1, False)


def test_a_token_outlives_its_holder(registry: Registry) -> None:
    tokens: list[Any] = []
    in_a_thread(lambda: tokens.append(registry.begin("task", "left")))

    assert registry._innermost == {}
    assert tokens[0]() is None
    registry.end(tokens[0])
    assert registry.done() == {"left": 1}


def test_what_the_collector_finishes_in_a_begin_may_begin_and_end_as_well(
    registry: Registry,
) -> None:
    threshold = gc.get_threshold()
    kept: list[Any] = []

    class Late:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            registry.end(registry.begin("task", "finalizer"))
            registry.end(kept.pop() if kept else None)

    gc.collect()
    gc.set_threshold(1)
    try:
        for _ in range(ROUNDS):
            Late()
            kept[:] = [registry.begin("task", "outer")]
            registry.end(registry.begin("task", "inner"))
            registry.end(kept.pop() if kept else None)
    finally:
        gc.set_threshold(*threshold)
    gc.collect()

    assert registry._innermost == {}
    assert registry.done()["outer"] == registry.done()["inner"] == ROUNDS


def test_who_switches_it_off_in_the_middle_leaves_nothing(registry: Registry) -> None:
    class Name:
        def __str__(self) -> str:
            registry.switch_off()
            return "late"

    for _ in range(10):
        registry.switch_on(_thread.get_ident, _thread._local, 0)
        assert registry.begin("task", Name()) is None  # type: ignore[arg-type]
        assert registry._innermost == {}


def test_who_begins_while_the_agent_starts_anew_leaves_nothing(
    registry: Registry,
) -> None:
    class Name:
        def __str__(self) -> str:
            registry.switch_off()
            registry.switch_on(_thread.get_ident, _thread._local, 0)
            return "late"

    registry.end(registry.begin("task", "before"))
    registry.begin("task", Name())  # type: ignore[arg-type]

    assert registry.running() == ()
    assert registry._innermost == {}


def test_an_observer_that_ends_the_task_or_the_watch_itself(registry: Registry) -> None:
    class Observer:
        def begin(self, token: Any) -> None:
            token.note = token
            registry.end(token)
            registry._observer = None

        def end(self, token: Any) -> float:
            registry.switch_off()
            return 0.0

    registry.observe(Observer())
    token = registry.begin("task", "ended at once")
    registry.end(token)

    assert token is not None
    assert token.over
    assert registry._innermost == {}


def test_a_task_that_ends_while_it_ends_is_counted_once(registry: Registry) -> None:
    class Observer:
        def begin(self, token: Any) -> None:
            token.note = self

        def end(self, token: Any) -> float:
            token.note = None
            registry.end(token)
            return 0.0

    registry.observe(Observer())
    registry.end(registry.begin("task", "twice"))

    assert registry.done() == {"twice": 1}


def test_what_was_deleted_is_as_if_it_were_none(registry: Registry) -> None:
    token = registry.begin("task", "runs")
    assert token is not None
    token.note = [token]
    del registry._observer
    registry.end(token)
    del token.note
    assert registry.begin("task", "unobserved") is not None
    del registry._local
    assert registry.begin("task", "on no thread") is None
    assert registry.here() == 0
    registry.switch_off()

    around = [token]
    around.append(around)  # type: ignore[arg-type]
    del token, around
    gc.collect()


def test_a_thread_s_storage_may_be_dropped_while_asked(
    registry: Registry,
) -> None:
    class Storage(_thread._local):
        def __init__(self) -> None:
            registry._local = None

    registry._local = Storage()
    in_a_thread(lambda: registry.begin("task", "lost"))

    assert registry._local is None


class Looks:
    """A note that looks for its token where weak references are found."""

    def __init__(self, holder: object, found: list[Any]) -> None:
        self.holder, self.found = holder, found

    def __del__(self) -> None:
        self.found += weakref.getweakrefs(self.holder)


def test_nobody_is_given_a_token_that_goes(registry: Registry) -> None:
    found: list[Any] = []
    token = registry.begin("task", "goes")
    assert token is not None
    token.note = Looks(token(), found)
    registry.end(token)
    del token

    assert found == []


def test_a_long_chain_of_tokens_takes_no_stack(registry: Registry) -> None:
    last = None
    for _ in range(200_000):
        token = registry.begin("task", "link")
        assert token is not None
        registry.end(token)
        token.note = last
        last = token
    del token, last


AT_THE_VERY_END = """
import _thread, codecs, gc, os
from liveheap._heap import Labels
from liveheap.tasks import Registry
registry = Registry()
assert isinstance(registry, Labels)
registry.switch_on(_thread.get_ident, _thread._local, 0)
class Late:
    do = registry.begin, registry.end, registry.here, os.write
    def __del__(self):
        begin, end, here, write = self.do
        end(begin("task", "late"))
        here()
        write(1, b"late")
codecs.register_error("late", lambda error, late=Late(): error)
del registry
"""


def run_apart(program: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a program where no source tree stands before what is installed."""
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_what_is_finished_last_of_all_may_begin_a_task(tmp_path: Path) -> None:
    told = run_apart(AT_THE_VERY_END, tmp_path)

    assert (told.returncode, told.stdout) == (0, "late"), told.stderr


IMPORTED_ANEW = """
import _thread, asyncio, gc, sys
from liveheap.tasks import Registry
registry = Registry()
registry.switch_on(_thread.get_ident, _thread._local, 0)
def holder():
    token = registry.begin("task", "runs")
    registry.end(token)
    return token.holder
async def main():
    return holder()
for _ in range(2):
    print(asyncio.run(main()), holder())
    for name in [name for name in sys.modules if "asyncio" in name]:
        del sys.modules[name]
    gc.collect()
    print(holder())
    import asyncio
"""


def test_who_imports_asyncio_anew_is_asked_by_the_new_one(tmp_path: Path) -> None:
    told = run_apart(IMPORTED_ANEW, tmp_path)

    assert told.stdout.split() == ["asyncio", "thread", "thread"] * 2, told.stderr


def test_who_switches_off_holds_no_module(registry: Registry) -> None:
    def modules() -> list[object]:
        held = gc.get_referents(registry)
        return [each for each in held if isinstance(each, ModuleType)]

    import asyncio

    registry.end(registry.begin("task", "runs"))
    assert asyncio.tasks in modules()
    registry.switch_off()
    assert modules() == []


def test_many_threads_begin_and_end_while_others_ask(registry: Registry) -> None:
    over = threading.Event()
    interval = sys.getswitchinterval()
    wrong: list[object] = []

    def work(name: str) -> None:
        while not over.is_set():
            outer = registry.begin("task", name)
            inner = registry.begin("task", "part", name)
            mine = registry.find_here("task", name)
            if mine is not inner or registry.innermost_here() is not inner:
                wrong.append(mine)
            registry.end(outer)
            registry.end_here("task", name)

    threads = [threading.Thread(target=work, args=(str(n),)) for n in range(6)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for _ in range(ROUNDS):
            registry.running()
            registry.done()
    finally:
        over.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)

    assert wrong == []
    assert registry._innermost == {}
    assert registry.done()["part"] == sum(registry.done()[str(n)] for n in range(6))


def test_texts_are_plain_and_cut_whatever_they_were() -> None:
    class Text(str):
        __slots__ = ()

        def __str__(self) -> str:
            return self

    labels = bare()
    labels._local = threading.local()
    labels._local.anchor = threading.Thread()
    token = labels.begin(Text("kind"), Text("n" * 99), Text("id"))

    assert token is not None
    assert (token.kind, token.name, token.id) == ("kind", "n" * 10, "id")
    assert {type(each) for each in (token.kind, token.name, token.id)} == {str}


def test_an_error_is_ours_only_if_it_was_said_to_be() -> None:
    for errors, is_ours in ((OUR_ERRORS, True), ((KeyError,), False)):
        labels = bare(errors=errors)
        labels._local = threading.local()
        labels._local.anchor = 7  # nothing refers weakly to a number
        if is_ours:
            assert labels.begin("task", "lost") is None
        else:
            with pytest.raises(TypeError, match="weak reference"):
                labels.begin("task", "lost")


def test_without_an_anchor_or_who_makes_one_nothing_is_labelled() -> None:
    labels = bare()

    assert labels.begin("task", "lost") is None
    assert labels.here() == 0


@pytest.mark.parametrize(
    "wrong",
    [(), ("kind",), ("kind", "name", None, None)],
)
def test_a_begin_with_other_arguments_is_refused(
    registry: Registry, wrong: tuple[Any, ...]
) -> None:
    with pytest.raises(TypeError):
        registry.begin(*wrong)


def test_limits_are_asked_for() -> None:
    with pytest.raises(TypeError):
        Labels()  # type: ignore[call-arg]
    unready = Labels.__new__(Labels)
    unready.is_on = True
    assert unready.here.__self__ is unready
    with pytest.raises(AttributeError):
        unready.begin("task", "nobody said which errors are ours")


def test_the_names_of_modules_mean_nothing_if_they_are_not_those(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("asyncio.tasks", "greenlet"):
        for odd in (object(), 7, registry, ModuleType(name), None):
            token = registry.begin("task", "on a thread", "1")
            monkeypatch.setitem(sys.modules, name, odd)
            registry.end_here("task", "1")
            assert token is not None
            assert (token.holder, token.over) == ("thread", True)


class Slotted:
    """Its `__dict__` is none."""

    __dict__ = 7  # type: ignore[assignment]


class Restless:
    """An answer, and who gives it: when it is asked or finished, something happens."""

    happen: Callable[[], object] = staticmethod(lambda: None)

    def __call__(self, *_: object) -> Restless:
        self.happen()
        return Restless()

    def __get__(self, *_: object) -> Restless:
        self.happen()
        return Restless()

    def __del__(self) -> None:
        self.happen()


class RestlessModule(ModuleType):
    """What takes the place of asyncio.tasks, asyncio.events and greenlet."""

    names: list[dict[str, object]] = []  # noqa: RUF012 -- of all of them

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.finished = Restless()

    def __getattribute__(self, name: str) -> Any:
        Restless.happen()
        if name == "events":
            return RestlessModule("events")
        if name == "greenlet":
            return type("greenlet", (), {"parent": Restless()})
        if name == "__dict__":
            names = {"_get_running_loop": Restless(), "current_task": Restless()}
            self.names.append(names)
            return names
        return Restless() if name == "getcurrent" else super().__getattribute__(name)


def happenings(registry: Registry) -> Iterator[Callable[[], object]]:
    """Yield what may happen while a holder is looked for, again and again."""

    def anew() -> None:
        registry.switch_off()
        registry.switch_on(_thread.get_ident, _thread._local, 0)

    def replaced() -> None:
        for name in ("asyncio.tasks", "greenlet"):
            sys.modules[name] = RestlessModule(name)

    def emptied() -> None:
        while RestlessModule.names:
            RestlessModule.names.pop().clear()

    young = partial(gc.collect, 0)
    steps = [registry._forget_sources, anew, replaced, emptied, registry.here, young]
    lot = random.Random(7)
    while True:
        yield lot.choice(steps)


@pytest.mark.parametrize("asyncio_too", [True, False])
def test_whoever_is_asked_for_a_holder_may_have_all_forgotten_meanwhile(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, *, asyncio_too: bool
) -> None:
    steps = happenings(registry)
    busy: list[object] = []

    def happen() -> None:
        if not busy:
            busy.append(None)
            next(steps)()
            busy.clear()

    monkeypatch.setattr(Restless, "happen", staticmethod(happen))
    for _ in range(ROUNDS // 10):
        tasks = RestlessModule("asyncio.tasks") if asyncio_too else None
        monkeypatch.setitem(sys.modules, "asyncio.tasks", tasks)
        monkeypatch.setitem(sys.modules, "greenlet", RestlessModule("greenlet"))
        token = registry.begin("task", "runs")
        registry.end_here("task")
        registry.end(token)
    monkeypatch.setattr(Restless, "happen", staticmethod(lambda: None))


def blocks_left_by(work: Callable[[], object]) -> int:
    """Return how many blocks of memory its second run leaves behind."""
    work()
    gc.collect()
    before = sys.getallocatedblocks()
    work()
    gc.collect()
    return sys.getallocatedblocks() - before


def test_finding_a_holder_anew_leaves_no_memory_behind(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work() -> None:
        for _ in range(ROUNDS):
            registry._forget_sources()
            registry.here()

    monkeypatch.setitem(sys.modules, "greenlet", RestlessModule("greenlet"))
    assert blocks_left_by(work) < ROUNDS // 20


@pytest.mark.parametrize("in_a_circle", [True, False])
def test_a_registry_goes_with_all_that_it_asked(
    monkeypatch: pytest.MonkeyPatch, *, in_a_circle: bool
) -> None:
    other = Registry()
    other.switch_on(_thread.get_ident, _thread._local, 0)
    module = RestlessModule("greenlet")
    if in_a_circle:
        module.registry = other
    monkeypatch.setitem(sys.modules, "asyncio.tasks", None)
    monkeypatch.setitem(sys.modules, "greenlet", module)
    other.here()
    monkeypatch.undo()
    gone = weakref.ref(other), weakref.ref(module)

    del other, module
    gc.collect()

    assert [each() for each in gone] == [None, None]


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("asyncio.tasks", SimpleNamespace(events=7)),
        ("asyncio.tasks", SimpleNamespace(events=SimpleNamespace())),
        ("asyncio.tasks", SimpleNamespace(events=Slotted())),
        ("greenlet", SimpleNamespace(getcurrent=object)),
        ("greenlet", SimpleNamespace(getcurrent=object, greenlet=7)),
        (
            "greenlet",
            SimpleNamespace(getcurrent=object, greenlet=SimpleNamespace(parent=7)),
        ),
    ],
)
def test_nothing_runs_on_a_module_of_another_shape(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, name: str, module: Any
) -> None:
    for each in ("asyncio.tasks", "greenlet"):
        monkeypatch.setitem(sys.modules, each, module if each == name else None)
    for _ in range(2):
        token = registry.begin("task", "on a thread")
        registry.end(token)
        assert token is not None
        assert token.holder == "thread"


def test_tokens_leave_no_memory_behind(registry: Registry) -> None:
    def work() -> None:
        for number in range(ROUNDS):
            outer = registry.begin("task", "outer", str(number))
            registry.end(registry.begin("task", "inner"))
            registry.end(outer)

    assert blocks_left_by(work) < ROUNDS // 20
