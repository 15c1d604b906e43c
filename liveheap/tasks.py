"""Which task, job or request runs on which greenlet, asyncio task or thread.

The frameworks' hooks (`liveheap.hosts`) and `liveheap.task` say `begin` and `end`, on
the host's own threads, some thousand times a second: so those are C (csrc/labels.h),
take no lock and raise nothing of their own. The agent's thread asks `running` and
`done` now and then. Where the engine cannot be loaded, nothing is labelled.

A **holder** is what the task runs on: the asyncio task, else the greenlet, else the
thread. A ContextVar would say who inherits the label, but nobody can read another
thread's; so this is a dict of ours, from the holder's address to the innermost of the
tasks that run on it, each of which knows the one around it. An address alone would be
given to the next greenlet, and the dead one's label with it. So every token is a weak
reference to its holder, whose death takes its tokens away; for a thread, which cannot
be referred to, an object in its thread-local storage stands in.

Everything shared is changed with the GIL held. What two threads make of one holder at
once (a generator closed by the collector elsewhere) leaves at worst a token that is
marked as over, and those are passed over.

A forked child begins anew, but what runs on the thread that forked goes on there.

Never kept: arguments, results, the task itself. Names and ids are cut, names are
counted up to MAX_NAMES, and holders beyond MAX_HOLDERS go without a label.
"""

from __future__ import annotations

import sys
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

try:
    from liveheap._heap import Labels
    from liveheap._heap import Token as Token  # noqa: PLC0414 -- for others, too
except Exception:  # heap.py says why
    from liveheap.unlabelled import Labels  # type: ignore[assignment]
    from liveheap.unlabelled import Token as Token  # type: ignore[assignment]  # noqa: PLC0414

MAX_HOLDERS = 10_000
MAX_DEPTH = 64
MAX_NAMES = 256
LONGEST = 200
OTHER = "(other)"

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


class Observer(Protocol):
    """Who is asked about tasks that have the process to themselves.

    On the host's threads, within the task; see OUR_ERRORS for what it may raise.
    """

    def begin(self, token: Token) -> None:
        """A task began, with nothing beside it; a `note` at it asks for its end."""
        ...

    def end(self, token: Token) -> float:
        """A noted task ends; return for how many seconds not to be asked."""
        ...


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


class Registry(Labels):
    """The tasks of one process. Off, and free of cost, until the agent starts."""

    def __init__(self) -> None:
        super().__init__(
            errors=OUR_ERRORS,
            other=OTHER,
            max_depth=MAX_DEPTH,
            max_holders=MAX_HOLDERS,
            max_names=MAX_NAMES,
            longest=LONGEST,
        )
        self.main_ident = 0
        self._sources: tuple[Source, ...] = ()
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
        self._local = self._observer = None
        self._forget_sources()
        self._begin_anew()

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

    def overlapped(self) -> Mapping[str, int]:
        """Return how many of those had others beside them, by name."""
        return dict(self._overlapped)

    def observe(self, observer: Observer) -> None:
        """Ask this observer, and no other one, as soon as the last one's rest is over.

        The host is owed it, however often the agent stops and starts.
        """
        self._observer = observer

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
        kept = self._innermost.get(self.here())
        self._begin_anew()
        self._rest_until = 0.0
        if kept is not None:
            self._innermost[kept.key] = kept

    def _begin_anew(self) -> None:
        for counted in (self._innermost, self._done, self._overlapped):
            counted.clear()

    def _new_anchor(self) -> ThreadAnchor:
        anchor = self._local.anchor = ThreadAnchor()
        return anchor


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
overlapped = REGISTRY.overlapped
observe, add_source = REGISTRY.observe, REGISTRY.add_source
