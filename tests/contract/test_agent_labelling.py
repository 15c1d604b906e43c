"""Frameworks are hooked when they are imported, and nobody sees it."""

from __future__ import annotations

import copy
import functools
import gc
import importlib
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MethodType, ModuleType, SimpleNamespace
from typing import Any

import pytest

from liveheap import tasks
from liveheap.hosts import celery
from liveheap.hosts.labelling import HOOKS, Labelling
from liveheap.hosts.wrapping import (
    Undo,
    classes_with,
    hear,
    hear_set,
    label,
    replace,
    undo_all,
)

SOURCE = """
BEFORE = (__loader__, __spec__.loader)
def work():
    return "work"
"""


class Shop:
    """A framework `shop` on disk, and hooks for it that write down what they do."""

    def __init__(self, folder: Path) -> None:
        self.calls: list[str] = []
        self.fails = False
        (folder / "shop").mkdir()
        (folder / "shop" / "__init__.py").write_text("")
        (folder / "shop" / "signals.py").write_text(SOURCE)
        (folder / "shop" / "broken.py").write_text("raise ImportError('as ever')")
        names = ("shop.signals", "shop.broken", "shop.missing")
        self.labelling = Labelling(dict.fromkeys(names, self.hook))

    def hook(self, module: ModuleType) -> Undo:
        self.calls.append(f"hook {module.__name__}")
        assert module.work() == "work"
        if self.fails:
            raise KeyError("another version")
        return lambda: self.calls.append(f"undo {module.__name__}")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.syspath_prepend(tmp_path)
    finders = list(sys.meta_path)
    shop = Shop(tmp_path)
    yield shop
    shop.labelling.remove()
    assert sys.meta_path == finders
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[name]


def load(name: str) -> Any:
    return importlib.import_module(name)


def test_a_framework_is_hooked_once_its_module_has_run(shop):
    shop.labelling.install()
    assert shop.calls == []
    load("shop.signals")
    assert shop.calls == ["hook shop.signals"]
    assert shop.labelling.hooked == ["shop"]
    shop.labelling.remove()
    assert shop.calls == ["hook shop.signals", "undo shop.signals"]
    assert shop.labelling.hooked == []


def test_a_framework_that_is_there_already_is_hooked_at_once(shop):
    load("shop.signals")
    shop.labelling.install()
    assert shop.calls == ["hook shop.signals"]


def test_a_module_that_renames_itself_is_hooked_under_the_name_it_was_asked_for(
    shop, tmp_path
):
    (tmp_path / "shop" / "signals.py").write_text(
        f"{SOURCE}\n__name__ = 'shop._compiled'\n"
    )
    shop.labelling.install()
    load("shop.signals")
    assert shop.labelling.failed == []
    assert shop.labelling.hooked == ["shop"]


def test_hooks_are_put_in_once_however_often_an_agent_starts(shop):
    load("shop.signals")
    shop.labelling.install()
    shop.labelling.install()
    assert shop.calls == ["hook shop.signals"]


class Signal:
    """What we know of Celery's."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.receivers: list[Any] = []
        self.sent: list[dict[str, object]] = []

    def connect(self, receiver: object, **_: object) -> None:
        with self.lock:
            self.receivers.append((None, receiver))

    def disconnect(self, **_: object) -> None:
        with self.lock:
            self.receivers.clear()

    def send(self, **named: object) -> None:
        self.sent.append(named)
        for _, receiver in self.receivers:
            receiver(signal=self, **named)


@pytest.fixture
def signals() -> Any:
    return SimpleNamespace(task_prerun=Signal(), task_postrun=Signal())


def test_celery_is_not_waited_for_where_its_signals_are_being_changed(signals):
    with signals.task_postrun.lock, pytest.raises(RuntimeError):
        celery.hook(signals)
    assert signals.task_prerun.receivers == []
    undo = celery.hook(signals)
    assert signals.task_prerun.receivers == [(None, celery.begin)]
    assert signals.task_postrun.receivers == [(None, celery.end)]
    undo()
    assert signals.task_prerun.receivers == signals.task_postrun.receivers == []


def test_celerys_signals_are_not_dispatched_for_us_alone(signals, monkeypatch):
    prerun, postrun = signals.task_prerun, signals.task_postrun
    trace = ModuleType("trace")
    before = {"send_prerun": prerun.send, "send_postrun": postrun.send}
    vars(trace).update(before)
    task, heard = SimpleNamespace(name="shop.pack"), []
    monkeypatch.setattr(tasks, "begin", lambda *args: heard.append(args))
    monkeypatch.setattr(tasks, "end_here", lambda *args: heard.append(args))
    undo = [celery.hook(signals), celery.hook_tracer(trace)]

    def run() -> None:
        trace.send_prerun(sender=task, task_id="4711", args=(1,))
        trace.send_postrun(sender=task, task_id="4711", retval=2)

    ours: list[object] = [("celery", "shop.pack", "4711"), ("celery", "4711")]
    run()
    assert heard == ours
    assert not prerun.sent
    prerun.connect(lambda **named: heard.append(named["args"]))
    run()
    assert heard == [*ours, ours[0], (1,), ours[1]]
    assert prerun.sent == [{"sender": task, "task_id": "4711", "args": (1,)}]
    undo[0]()
    run()
    assert len(heard) == 5
    assert postrun.sent == [{"sender": task, "task_id": "4711", "retval": 2}]
    undo[1]()
    assert {name: getattr(trace, name) for name in before} == before


class Deaf:
    """A signal that keeps what is sent, and any receivers."""

    def __init__(self) -> None:
        self.receivers: Any = [(None, celery.begin)]
        self.sent: list[object] = []

    def send(self, *words: object, **named: object) -> str:
        self.sent.append((words, named))
        return "sent"


class Tracer(ModuleType):
    """Celery's, hooked, with signals that are deaf; and what the registry heard."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__("trace")
        self.heard: list[object] = []
        for name in ("begin", "end_here"):
            monkeypatch.setattr(tasks, name, lambda *args: self.heard.append(args))
        self.signal = Deaf()
        self.send_prerun, self.send_postrun = self.signal.send, Deaf().send
        self.undo = celery.hook_tracer(self)


@pytest.fixture
def tracer(monkeypatch):
    return Tracer(monkeypatch)


@pytest.mark.parametrize(
    "receivers",
    [
        *(None, 7, [], [7], [()], [(celery.begin,)], [(None, print)]),
        [(None, celery.begin, 1)],
        [(None, celery.begin)] * 2,
        ((None, celery.begin),),
    ],
)
def test_receivers_that_are_not_ours_alone_are_left_to_the_signal(tracer, receivers):
    tracer.signal.receivers = receivers
    assert tracer.send_prerun(sender=None, task_id="4711") == "sent"
    assert tracer.heard == []


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ((None,), {"task_id": "4711"}),
        ((), {"sender": None}),
        ((), {"task_id": "4711", "args": ()}),
        ((), {}),
    ],
)
def test_a_send_of_other_arguments_is_left_to_the_signal(tracer, words, named):
    assert tracer.send_prerun(*words, **named) == "sent"
    assert tracer.signal.sent == [(words, named)]
    assert tracer.heard == []


def test_a_sender_without_a_name_is_labelled_all_the_same(tracer):
    assert tracer.send_prerun(sender=None, task_id="4711", args=(1,)) is None
    assert tracer.heard == [("celery", "?", "4711")]


def wraps(send: Any) -> Any:
    @functools.wraps(send)
    def wrapper(*words: object, **named: object) -> object:
        return send(*words, **named)

    return wrapper


class Transparent:
    """Tells of itself what it wraps would tell, as wrapt's proxies do."""

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped

    def __call__(self, *words: object, **named: object) -> object:
        return self.wrapped(*words, **named)

    def __getattr__(self, name: str) -> object:
        return getattr(self.wrapped, name)


class Traced(Deaf):
    """Whose class somebody has changed."""

    send = wraps(Deaf.send)


@pytest.mark.parametrize(
    "send",
    [
        wraps(Deaf().send),
        Transparent(Deaf().send),
        Traced().send,
        MethodType(wraps, Deaf()),
        print,
        None,
    ],
)
def test_a_send_that_somebody_stands_before_stays_as_it_is(send):
    trace = ModuleType("trace")
    vars(trace).update(send_prerun=send, send_postrun=Deaf().send)
    before = dict(vars(trace))
    undo = celery.hook_tracer(trace)
    assert trace.send_prerun is send
    assert trace.send_postrun is not before["send_postrun"]
    undo()
    assert vars(trace) == before


def test_of_several_hooks_all_are_put_in_or_none():
    owner = SimpleNamespace(first=print)
    with pytest.raises(AttributeError):
        undo_all(replace(owner, name, wraps) for name in ("first", "second"))
    assert vars(owner) == {"first": print}


def test_who_replaces_nothing_leaves_no_trace():
    def send() -> None:
        """Somebody's."""

    trace = ModuleType("trace")
    vars(trace).update(send=send)
    replace(trace, "send", lambda original: original)()
    assert trace.send is send
    assert vars(send) == {}


def test_what_is_raised_within_a_send_comes_out_of_it(tracer, monkeypatch):
    class Sender:
        def __getattr__(self, name: str) -> str:
            raise TimeoutError(name)

    def strike(*_: object) -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError, match="name"):
        tracer.send_prerun(sender=Sender(), task_id="4711")
    tracer.signal.receivers = None
    del tracer.signal.receivers
    with pytest.raises(AttributeError, match="receivers"):
        tracer.send_prerun(sender=None, task_id="4711")
    tracer.signal.receivers = [(None, celery.begin)]
    tracer.undo()
    monkeypatch.setattr(tasks, "begin", strike)
    celery.hook_tracer(tracer)
    with pytest.raises(TimeoutError):
        tracer.send_prerun(sender=None, task_id="4711")


def test_a_send_keeps_nothing_of_what_it_is_told():
    class Task:
        @property
        def name(self) -> str:
            return f"{id(self)} " * 3

    signal = Deaf()
    begins = celery.send_that_begins(
        signal.send, celery.begin, lambda *args: list(args), "celery"
    )
    ends = celery.send_that_ends(
        signal.send, celery.begin, lambda *args: list(args), "celery"
    )

    def work() -> None:
        for number in range(2000):
            celery.send_that_begins(signal.send, celery.begin, print, "celery")
            for send in (begins, ends):
                send(sender=Task(), task_id=str(number))
                send(sender=None, task_id=str(number))

    def counts() -> list[int]:
        gc.collect()
        shared = (signal, signal.receivers, celery.begin, "?")
        return [sys.getallocatedblocks(), *map(sys.getrefcount, shared)]

    work()
    before = counts()
    work()
    changes = [now - then for now, then in zip(counts(), before, strict=True)]
    assert max(map(abs, changes)) < 100
    assert signal.sent == []


def test_a_send_takes_no_other_makings():
    for wrong in ((), (print, None, None, 7), (7, None, None, "celery")):
        with pytest.raises((TypeError, AttributeError)):
            celery.send_that_begins(*wrong)


def test_a_module_that_is_being_imported_is_left_alone(shop):
    module = load("shop.signals")
    module.__spec__._initializing = True
    shop.labelling.install()
    assert shop.calls == []


def test_a_module_sees_its_own_loader_from_its_first_line_on(shop):
    shop.labelling.install()
    module = load("shop.signals")
    plain = type(load("shop").__spec__.loader)
    loaders = (*module.BEFORE, module.__loader__, module.__spec__.loader)
    assert [type(each) for each in loaders] == [plain] * 4
    assert module.__spec__.origin == module.__file__


def test_a_reloaded_module_is_hooked_again(shop):
    shop.labelling.install()
    importlib.reload(load("shop.signals"))
    assert shop.calls == ["hook shop.signals"] * 2


def test_a_hook_that_fails_is_a_framework_without_labels(shop):
    shop.fails = True
    shop.labelling.install()
    assert load("shop.signals").work() == "work"
    assert shop.labelling.failed == ["shop.signals"]
    assert shop.labelling.hooked == []


def test_a_module_that_fails_or_is_missing_fails_as_ever(shop):
    shop.labelling.install()
    with pytest.raises(ImportError, match="as ever"):
        load("shop.broken")
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'shop\.missing'"):
        load("shop.missing")
    assert importlib.util.find_spec("shop.missing") is None
    assert shop.calls == []


def test_a_finder_before_or_behind_ours_goes_on_finding(shop):
    class Recorder:
        def __init__(self) -> None:
            self.asked: list[str] = []

        def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
            self.asked.append(name)

    before, behind = Recorder(), Recorder()
    shop.labelling.install()
    sys.meta_path.insert(0, before)
    sys.meta_path.insert(2, behind)
    try:
        load("shop.signals")
    finally:
        for each in (before, behind):
            sys.meta_path.remove(each)
    assert before.asked == behind.asked == ["shop", "shop.signals"]
    assert shop.calls == ["hook shop.signals"]


def test_a_framework_in_a_zip_file_is_hooked_too(shop, tmp_path, monkeypatch):
    archive = tmp_path / "shop.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("shop/__init__.py", "")
        file.writestr("shop/signals.py", SOURCE)
    monkeypatch.syspath_prepend(archive)
    shop.labelling.install()
    module = load("shop.signals")
    assert type(module.__loader__).__name__ == "zipimporter"
    assert module.__loader__.get_source("shop.signals") == SOURCE
    assert shop.calls == ["hook shop.signals"]


@pytest.mark.parametrize("options", [["-I"], ["-X", "importtime"], ["-v"]])
def test_imports_are_told_as_without_us(options, shop, tmp_path):
    def told(before: str) -> list[str]:
        code = f"""
import importlib.util, sys
{before}
sys.path.insert(0, {str(tmp_path)!r})
sys.stderr.write("BEGIN\\n")
import shop.signals
assert shop.signals.work() == "work"
sys.stderr.write("END\\n")
"""
        command = [sys.executable, *options, "-B", "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        lines = done.stderr.splitlines()
        lines = lines[lines.index("BEGIN") : lines.index("END") + 1]
        # Times and addresses are never the same.
        return [line.rpartition("|")[2].partition(" object at ")[0] for line in lines]

    with_us = """
from liveheap.hosts.labelling import Labelling
Labelling({"shop.signals": lambda module: list}).install()
"""
    without = told("import collections.abc, functools, contextlib, dataclasses")
    assert told(with_us) == without


def test_hooks_name_modules_and_import_nothing():
    assert "celery.signals" in HOOKS
    code = """
import sys
from liveheap.hosts import labelling
labelling.LABELLING.install()
roots = {name.partition(".")[0] for name in labelling.HOOKS}
assert not roots & set(sys.modules), roots & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd="/")


class Base:
    def method(self, word: str) -> str:
        """Say it."""
        return word


class Derived(Base):
    pass


OldName = Base


def test_a_class_with_two_names_is_found_once():
    module = sys.modules[__name__]
    assert classes_with(module, "method") == [Base]
    assert Path not in classes_with(module, "exists")


def test_a_wrapped_method_looks_and_works_as_before():
    undo = label(Base, "method", lambda *_: None)
    assert Base.method.__doc__ == "Say it."
    assert Base.method.__qualname__ == "Base.method"
    assert Derived().method("word") == "word"
    undo()
    assert "wrapper" not in repr(Base.__dict__["method"].__code__)


def test_a_method_of_another_version_goes_without_a_label():
    def begin(*_: object) -> None:
        raise AttributeError("this version has no such thing")

    undo = label(Base, "method", begin)
    assert Base().method("word") == "word"
    undo()


def test_an_inherited_method_is_wrapped_in_one_class_only():
    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        return lambda self, word: original(self, word).upper()

    undo = replace(Derived, "method", make)
    assert (Derived().method("word"), Base().method("word")) == ("WORD", "word")
    undo()
    assert "method" not in Derived.__dict__


def test_what_a_method_returns_is_heard_and_a_fault_of_the_hearer_is_not():
    heard = []

    def tell(result: str, owner: Base, word: str) -> None:
        heard.append((result, word))
        raise AttributeError("another version")

    undo = hear(Base, "method", tell)
    assert Derived().method("word") == "word"
    with pytest.raises(TypeError, match="missing 1 required"):
        Base().method()
    undo()
    assert Base().method("word") == "word"
    assert heard == [("word", "word")]


def test_an_attribute_that_is_set_is_heard_and_else_as_it_was():
    class Request:
        pass

    def tell(value: object) -> None:
        heard.append(value)
        raise AttributeError("another version")

    heard: list[object] = []
    early, late = Request(), Request()
    early.match = 1
    undo = hear_set(Request, "match", tell)
    assert not hasattr(late, "match")
    late.match = 2
    assert (early.match, late.match, vars(late)) == (1, 2, {"match": 2})
    assert vars(copy.copy(late)) == {"match": 2}
    del early.match
    with pytest.raises(AttributeError, match="match"):
        del early.match
    undo()
    early.match = 3
    assert (early.match, late.match, heard) == (3, 2, [2])
    assert "match" not in vars(Request)


def test_an_attribute_that_a_class_has_itself_is_left_alone():
    with pytest.raises(AttributeError, match="of its own"):
        hear_set(Base, "method", print)
    assert Derived().method("word") == "word"


def test_what_others_wrapped_since_is_left_to_them():
    original = Base.__dict__["method"]
    undo = label(Base, "method", lambda *_: None)
    ours = Base.__dict__["method"]
    theirs = lambda self, word: ours(self, word) + "!"  # noqa: E731 -- one of many
    Base.method = theirs
    undo()
    assert Base().method("word") == "word!"
    Base.method = original
