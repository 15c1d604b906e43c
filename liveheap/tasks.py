"""Which task, job or request runs on which greenlet, asyncio task or thread.

The frameworks' hooks (`liveheap.hosts`) and `liveheap.task` say `begin` and `end`, on
the host's own threads, some thousand times a second: so each costs a microsecond or
two, takes no lock and raises nothing of its own. The agent's thread asks `running` and
`done` now and then.

A **holder** is what the task runs on: the asyncio task, else the greenlet, else the
thread. A ContextVar would say who inherits the label, but nobody can read another
thread's; so this is a dict of ours, from the holder's address to the innermost of the
tasks that run on it, each of which knows the one around it. An address alone would be
given to the next greenlet, and the dead one's label with it. So every token is a weak
reference to its holder, whose death takes its tokens away; for a thread, which cannot
be referred to, an object in its thread-local storage stands in.

Everything shared is changed by single operations under the GIL. What two threads make
of one holder at once (a generator closed by the collector elsewhere) leaves at worst a
token that is marked as over, and those are passed over.

A forked child begins anew, but what runs on the thread that forked goes on there.

Never kept: arguments, results, the task itself. Names and ids are cut, names are
counted up to MAX_NAMES, and holders beyond MAX_HOLDERS go without a label.
"""

from __future__ import annotations

import builtins
import sys
import time
import weakref
from collections import _count_elements  # type: ignore[attr-defined]
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

MAX_HOLDERS = 10_000
MAX_DEPTH = 64
MAX_NAMES = 256
LONGEST = 200
OTHER = "(other)"
CALLERS_FROM = 2
MOST_CALLERS = 4

GREENLET, ASYNCIO, THREAD = "greenlet", "asyncio", "thread"


@dataclass(frozen=True, slots=True)
class Task:
    """One task that runs: `address` is its greenlet's or asyncio task's, as of `id`."""

    kind: str
    name: str = field(compare=False)  # it may be another one later
    id: str | None
    started: float  # time.monotonic()
    thread: int  # as in sys._current_frames()
    holder: str
    address: int | None
    callers: tuple[int, ...]  # addresses of frames: the task's own begin below them
    inherited: bool = False  # a greenlet that the task has spawned


class Token(weakref.ref):  # type: ignore[type-arg]
    """What `begin` returns for `end`: the task, and weakly its holder.

    `note` belongs to an observer. `over` says that it has ended.
    """

    __slots__ = (
        "callers", "depth", "holder", "id", "key", "kind", "name", "note", "outer",
        "over", "started", "thread",
    )  # fmt: skip

    kind: str
    name: str
    id: str | None
    started: float
    thread: int
    holder: str
    callers: tuple[int, ...]
    key: int
    outer: Token | None
    depth: int
    over: bool
    note: object


Observer = Callable[[str, Token], object]
Source = Callable[[], tuple[Task, ...]]

# What our own code may raise by mistake. Anything else that comes up in it was raised
# by a signal's handler, as a time limit is, and belongs to the host.
OUR_ERRORS = (
    AttributeError,
    LookupError,
    MemoryError,
    NameError,
    RuntimeError,
    TypeError,
    ValueError,
)
REFERENT = weakref.ref.__call__


class ThreadAnchor:
    """Stands for a thread, in whose local storage it lives and dies."""

    __slots__ = ("__weakref__",)


class Registry:
    """The tasks of one process. Off, and free of cost, until the agent starts."""

    def __init__(self) -> None:
        self.is_on = False
        self.main_ident = 0
        self._innermost: dict[int, Token] = {}
        self._done: dict[str, int] = {}
        self._observers: tuple[Observer, ...] = ()
        self._sources: tuple[Source, ...] = ()
        self._local: Any = None
        self._ident: Callable[[], int] = int

    def switch_on(
        self, ident: Callable[[], int], local: Callable[[], Any], main_ident: int
    ) -> None:
        """Take labels from now on; the unpatched `_thread.get_ident` and `_local`."""
        self._ident, self._local, self.main_ident = ident, local(), main_ident
        self.is_on = True

    def switch_off(self) -> None:
        """Take no more labels, and forget those there are."""
        self.is_on = False
        self._local = None
        self._innermost, self._done, self._observers = {}, {}, ()

    def begin(self, kind: str, name: str, id: str | None = None) -> Token | None:  # noqa: A002 -- the field's name
        """Say that a task begins here. Raises nothing of its own."""
        if not self.is_on:
            return None
        try:
            holder, what = self._find_holder()
            key = builtins.id(holder)
            outer = self._innermost.get(key)
            depth = 0 if outer is None else outer.depth + 1
            if depth >= MAX_DEPTH or len(self._innermost) >= MAX_HOLDERS:
                return None
            token = Token(holder, self._forget)
            token.kind, token.name = kind, str(name)[:LONGEST]
            token.id = None if id is None else str(id)[:LONGEST]
            token.thread, token.holder, token.key = self._ident(), what, key
            token.outer, token.depth, token.over = outer, depth, False
            token.note = None
            token.callers = callers() if what is THREAD else ()
            token.started = time.monotonic()
            self._innermost[key] = token
        except OUR_ERRORS:
            return None
        if self._observers:
            try:
                self._tell("begin", token)
            except BaseException:
                token.over = True
                raise
        return token

    def rename(self, token: Token, name: str) -> None:
        """Call a task that runs by another name: what it is may be known only now."""
        if self.is_on and not token.over:
            token.name = name[:LONGEST]

    def end(self, token: Token | None) -> None:
        """Say that a task is over, from wherever. Raises nothing of its own."""
        if token is None or token.over or not self.is_on:
            return
        try:
            if token.note is not None:
                self._tell("end", token)
        finally:
            self._close(token)

    def end_here(self, kind: str, id: str | None = None) -> None:  # noqa: A002 -- the field's name
        """End what runs here and has this kind, and this id if one is given."""
        if self.is_on:
            try:
                self.end(self.find_here(kind, id))
            except OUR_ERRORS:
                return

    def find_here(self, kind: str, id: str | None = None) -> Token | None:  # noqa: A002 -- the field's name
        """Return the innermost task here that has this kind, and this id if given."""
        token = self._innermost.get(self.here())
        wanted = None if id is None else str(id)[:LONGEST]
        while token is not None:
            if not token.over and token.kind == kind and wanted in (None, token.id):
                return token
            token = token.outer
        return None

    def innermost(self, holder: int) -> Token | None:
        """Return the innermost task that runs on a holder, by its key; see `here`."""
        token = self._innermost.get(holder) if self.is_on else None
        while token is not None and token.over:
            token = token.outer
        return token

    def here(self) -> int:
        """Return the key of the holder that asks; 0 if that cannot be known."""
        try:
            return builtins.id(self._find_holder()[0])
        except OUR_ERRORS:
            return 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs, or nothing is taken down."""
        return not self._innermost

    def has(self, address: int) -> bool:
        """Whether something runs on the greenlet or asyncio task at this address."""
        return address in self._innermost

    def running(self) -> tuple[Task, ...]:
        """Return what runs; of two on one holder, the later one is the inner one."""
        found = []
        for head in list(self._innermost.values()):
            token: Token | None = None if is_dead(head) else head
            while token is not None:
                if not token.over:
                    found.append(as_task(token))
                token = token.outer
        for source in self._sources:
            with suppress(*OUR_ERRORS):
                found.extend(source())
        return tuple(sorted(found, key=lambda task: task.started))

    def done(self) -> Mapping[str, int]:
        """Return how many tasks have ended, by name; the rest under OTHER."""
        return dict(self._done)

    def holders(self) -> int:
        """Return on how many holders something runs."""
        return len(self._innermost)

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Call `observer("begin" | "end", token)` from now on; return how to stop.

        Of an end only if it left a note at the begin. It is called on the host's
        threads, within the task; see OUR_ERRORS for what it may raise.
        """
        self._observers = (*self._observers, observer)

        def stop() -> None:
            self._observers = tuple(
                each for each in self._observers if each is not observer
            )

        return stop

    def add_source(self, source: Source) -> Callable[[], None]:
        """Have `running` ask somebody else, too; return how to stop."""
        self._sources = (*self._sources, source)

        def stop() -> None:
            self._sources = tuple(each for each in self._sources if each is not source)

        return stop

    def after_fork_in_child(self) -> None:
        """Begin anew, but for what runs on the thread that forked."""
        if not self.is_on:
            return
        self.main_ident = self._ident()
        if self._innermost:
            kept = self._innermost.get(self.here())
            self._innermost = {} if kept is None else {kept.key: kept}
        if self._done:
            self._done = {}

    def _close(self, token: Token) -> None:
        try:
            token.over = True
            head = self._innermost.get(token.key)
            while head is not None and head.over:
                head = head.outer
            if head is None:
                self._innermost.pop(token.key, None)
            else:
                self._innermost[token.key] = head
            name = token.name
            if name not in self._done and len(self._done) >= MAX_NAMES:
                name = OTHER
            _count_elements(self._done, (name,))
        except OUR_ERRORS:
            return

    def _tell(self, what: str, token: Token) -> None:
        for observer in self._observers:
            try:
                observer(what, token)
            except OUR_ERRORS:
                continue

    def _forget(self, token: Token) -> None:
        """The holder is gone, and with it whatever ran on it."""
        self._innermost.pop(token.key, None)

    def _find_holder(self) -> tuple[object, str]:
        tasks = sys.modules.get("asyncio.tasks")
        if tasks is not None:
            loop = tasks.events._get_running_loop()
            task = None if loop is None else tasks.current_task(loop)
            if task is not None:
                return task, ASYNCIO
        module = sys.modules.get("greenlet")
        if module is not None:
            current = module.getcurrent()
            if current.parent is not None:
                return current, GREENLET
        try:
            return self._local.anchor, THREAD
        except AttributeError:
            anchor = self._local.anchor = ThreadAnchor()
            return anchor, THREAD


def is_dead(token: Token) -> bool:
    """Whether a greenlet has ended, although somebody still refers to it.

    Asked in one call into C, which holds it meanwhile: were the GIL let go, the last
    reference to it might be dropped here, on the agent's thread.
    """
    module = sys.modules.get("greenlet")
    if token.holder != GREENLET or module is None:
        return False
    dead = module.greenlet.dead.__get__
    try:
        return bool(next(map(dead, map(REFERENT, (token,)))))
    except TypeError:  # the reference is dead, too
        return True


def callers() -> tuple[int, ...]:
    """Return the addresses of the frames that said `begin`, and above them.

    A thread ran before its task did. A hook's own frames are gone in a moment; the
    first of these that still stands is where the task begins.
    """
    found = []
    frame = sys._getframe(CALLERS_FROM)
    for _ in range(MOST_CALLERS):
        found.append(id(frame))
        if frame.f_back is None:
            break
        frame = frame.f_back
    return tuple(found)


def as_task(token: Token) -> Task:
    """Return what is told of a token."""
    return Task(
        token.kind,
        token.name,
        token.id,
        token.started,
        token.thread,
        token.holder,
        None if token.holder == THREAD else token.key,
        token.callers,
    )


def inherited(task: Task, greenlet: int) -> Task:
    """Return a task as the greenlet at this address has it, which it has spawned."""
    return replace(
        task,
        holder=GREENLET,
        address=greenlet,
        callers=(),
        inherited=True,
        started=time.monotonic(),
    )


REGISTRY = Registry()
begin, end, end_here = REGISTRY.begin, REGISTRY.end, REGISTRY.end_here
rename = REGISTRY.rename
running, done = REGISTRY.running, REGISTRY.done
observe, add_source = REGISTRY.observe, REGISTRY.add_source
