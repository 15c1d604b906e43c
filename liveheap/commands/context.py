"""What a command may reach: its context, and the heap's door as a command sees it.

These are protocols, so that commands run in tests over a fake heap, and so that this
room needs neither the engine nor the agent. The agent's `Context` and
`liveheap.heap.Heap` fit them; mypy says so where the agent puts them together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from liveheap.deltas import Left
from liveheap.history import Figures
from liveheap.protocol.auth import Scope
from liveheap.rails import Rails
from liveheap.tasks import Task

if TYPE_CHECKING:
    from liveheap.commands.spooled import Spooled

T = TypeVar("T")
H = TypeVar("H", bound="Held")
Fields = tuple[tuple[str, str, Any], ...]  # as a Record has them


class TypeCount(Protocol):
    """One row of a histogram."""

    @property
    def module(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def count(self) -> int: ...
    @property
    def bytes(self) -> int: ...


class Histogram(Protocol):
    """Objects and bytes by type, and what the count cost."""

    @property
    def rows(self) -> Sequence[TypeCount]: ...
    @property
    def pause_ns(self) -> int: ...
    @property
    def walk_ns(self) -> int: ...
    @property
    def in_process(self) -> bool: ...
    @property
    def flags(self) -> Sequence[str]: ...


class Packer(Protocol):
    """What makes ranges of one stream ready for the wire."""

    def pack(self, raw: bytes) -> tuple[int, bytes]:
        """Return a range's codec and its bytes for the wire."""
        ...

    def sent(self) -> None:
        """What `pack` returned has been handed over."""
        ...


class Progress(Protocol):
    """How far a walk is."""

    @property
    def phase(self) -> str: ...
    @property
    def nodes(self) -> int: ...
    @property
    def raw_bytes(self) -> int: ...
    @property
    def written(self) -> bool: ...


class Outcome(Protocol):
    """How a walk ended."""

    @property
    def complete(self) -> bool: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def flags(self) -> Sequence[str]: ...
    @property
    def nodes(self) -> int: ...
    @property
    def edges(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def raw_length(self) -> int: ...
    @property
    def walk_ns(self) -> int: ...
    @property
    def pool_used(self) -> int: ...
    @property
    def pool_free(self) -> int: ...
    @property
    def malloc_used(self) -> int | None: ...
    @property
    def malloc_free(self) -> int | None: ...
    @property
    def malloc_mapped(self) -> int | None: ...


class Walk(Protocol):
    """A child that walks, and the spool it writes. Leaving it kills and reaps."""

    @property
    def pause_ns(self) -> int: ...
    def progress(self) -> Progress: ...
    def wait(self, timeout: float) -> bool: ...
    def read(self, offset: int, length: int) -> bytes: ...
    def outcome(self) -> Outcome: ...
    def close(self) -> None: ...


class Allocators(Protocol):
    """Who gives out this process's memory, and where its pages are."""

    def names(self) -> Mapping[str, str | None]: ...
    def residence(self, seconds: float) -> Mapping[str, Any]: ...
    def trim(self) -> float: ...
    def descriptors(self, seconds: float) -> Mapping[str, Any]: ...


class HeapFacts(Protocol):
    """What is foretold of the heap without looking at it."""

    @property
    def estimated_objects(self) -> int: ...


class CopyProcess(Protocol):
    """The process of a copy, seen from the worker."""

    @property
    def pid(self) -> int: ...
    @property
    def pause_ns(self) -> int: ...
    def status(self) -> Mapping[str, Any]: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout_s: float, /) -> int | None: ...
    def kill(self) -> None: ...
    def forget(self) -> None: ...


class HeapCopy(Protocol):
    """A copy that was just made, the worker's size then, and the copy's limits."""

    @property
    def child(self) -> CopyProcess: ...
    @property
    def rss(self) -> int: ...
    @property
    def cap(self) -> int: ...
    @property
    def lives_s(self) -> float: ...


class Heap(Protocol):
    """The heap of this process."""

    run_directory: str | None
    owners_pause_ms: float

    @property
    def allocators(self) -> Allocators: ...
    @property
    def unsupported(self) -> str | None: ...
    def facts(self) -> HeapFacts: ...
    def snapshot(
        self,
        *,
        spool_directory: str | None = ...,
        max_pause_ms: float = ...,
        force: bool = ...,
        timeout_s: float = ...,
        own_threads: Sequence[int] = ...,
        texts: bool = ...,
        values: bool = ...,
    ) -> Walk: ...
    def clone(
        self,
        program: Callable[[Mapping[int, Any]], object],
        fd: int,
        *,
        max_pause_ms: float = ...,
        force: bool = ...,
        lives_s: float = ...,
        may_write: bool = ...,
    ) -> HeapCopy: ...
    def histogram(
        self,
        *,
        spool_directory: str | None = ...,
        own_threads: Sequence[int] = ...,
        cancelled: Callable[[], object] = ...,
    ) -> Histogram: ...
    def sha256(self) -> Hash:
        """Return a running hash that works without the GIL."""
        ...

    def add_pending_call(self, fn: Callable[[], Any], /) -> bool:
        """Have the interpreter call `fn` on the main thread between instructions."""
        ...


class Held(Protocol):
    """Something that a session keeps from one command to the next."""

    def close(self) -> None:
        """Let go of everything. The session is over; called once, raises nothing."""
        ...


class Evaluation(Protocol):
    """Code that runs somewhere, and what it writes; see `commands/evaluating.py`."""

    @property
    def is_over(self) -> bool:
        """Whether nothing runs or will be written any more."""
        ...

    @property
    def doing(self) -> str:
        """What it is busy with, if it says so: for who waits."""
        ...

    def wait(self, seconds: float) -> None:
        """Return when there is something to take, it is over, or the time is."""
        ...

    def take(self, limit: int) -> bytes:
        """Return the next bytes of its output, UTF-8, cut between characters."""
        ...

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in it, if that can be done now."""
        ...

    def why_not_over(self) -> str:
        """Say why it may not heed an interrupt."""
        ...

    def fields(self) -> Fields:
        """Return how it ended, `outcome` first: see `commands/evaluating.py`."""
        ...


class Console(Held, Protocol):
    """Python in the live worker, for one session."""

    def evaluate(self, code: str, *, whole: bool, max_output: int) -> Evaluation:
        """Begin to run code; CommandError if it cannot be."""
        ...

    def complete(self, text: str) -> Sequence[str]:
        """Return what the last name in the text may become, running no code."""
        ...

    def place(self) -> Fields:
        """Say where one is."""
        ...


class Clone(Protocol):
    """A copy of the worker that answers, for one session."""

    def evaluate(self, code: str, *, whole: bool, max_output: int) -> Evaluation:
        """Begin to run code in it; CommandError if it is gone."""
        ...

    def complete(self, text: str) -> Sequence[str]:
        """Return what the last name in the text may become, computing nothing."""
        ...

    def facts(self) -> Fields:
        """Say what it is and what it costs."""
        ...


class Coming(Protocol):
    """A copy on its way."""

    def wait(self) -> Clone | None:
        """Wait a moment; return the copy once it answers.

        Raises:
            CommandError: none comes up, and why.
        """
        ...

    def close(self) -> None:
        """End what has not come up; a copy that has is the session's."""
        ...


class Context(Protocol):
    """What the agent lends a command for one run."""

    @property
    def heap(self) -> Heap: ...
    @property
    def own_threads(self) -> tuple[int, ...]:
        """Native ids of the agent's threads: their frames are not the worker's."""
        ...

    @property
    def environ(self) -> Mapping[str, str]: ...
    @property
    def spool_directory(self) -> str | None: ...

    def facts(self) -> Mapping[str, Any]:
        """What is known of the worker right now: see `commands/status.py`."""
        ...

    def figures(self) -> Sequence[Figures]:
        """What the worker's history holds, oldest first; nothing where it is off."""
        ...

    def greenlets(self) -> int | None:
        """How many greenlets there are; None without gevent or in a big worker."""
        ...

    def tasks(self) -> frozenset[Task]:
        """What runs right now, as far as the worker's framework or code says."""
        ...

    def labels(self) -> frozenset[Task]:
        """What runs, and what tasks have spawned: for the paths of a snapshot."""
        ...

    def done(self) -> Mapping[str, int]:
        """How many tasks have ended, by name."""
        ...

    def overlapped(self) -> Mapping[str, int]:
        """How many of those had others beside them, by name."""
        ...

    def left_behind(self) -> Mapping[str, Left]:
        """What tasks that ran alone left behind, by name."""
        ...

    @property
    def scope(self) -> Scope:
        """What this session may see."""
        ...

    def thread_id(self, ident: int) -> int | None:
        """Return a thread's number in a snapshot, given Python's; None if not known."""
        ...

    def packer(self) -> Packer:
        """Return what packs the ranges of one stream, off the GIL."""
        ...

    def on_main(
        self, fn: Callable[[], T], timeout: float | None = ...
    ) -> tuple[str, T]:
        """Run `fn` once, on the main thread if it can be had.

        Returns:
            Who ran it (`hub`, `loop`, `main` or `agent`), and what it returned.
        """
        ...

    def held(self, key: str, make: Callable[[], H]) -> H:
        """Return what this session keeps under a key, made at first.

        The session closes it at its end, however that comes.
        """
        ...

    def console(self) -> Console:
        """Return this session's console in the live worker."""
        ...

    def clone(
        self, *, max_pause_ms: float, force: bool, lives_s: float, is_free: bool
    ) -> Coming:
        """Begin a copy of the worker for this session, in the place of one it had.

        Raises:
            CommandError: `busy` if another session has one, or why there is none.
        """
        ...

    def made_clone(self) -> Clone:
        """Return this session's copy; CommandError if it has none."""
        ...

    def audit(self, what: str, **facts: object) -> None:
        """Add a line to the audit log, before what it tells of happens.

        Whatever text it is given is cut and escaped: `ctx.audit("console", code=line)`.
        """
        ...

    def check(self) -> None:
        """Raise if the client has cancelled or is gone: for waits without a yield."""
        ...

    def heap_is_free(self) -> None:
        """Say that the worker pays no more; what follows is only sent."""
        ...

    def while_stalled(self, look: Callable[[], object]) -> None:
        """Have `look` called now and then while the client takes nothing."""
        ...

    def keep_spool(
        self, lease_s: float
    ) -> AbstractContextManager[Callable[[Spooled], bool]]:
        """Lend a place for a snapshot; `busy` if there are too many.

        What the block gets puts the snapshot there, and says whether it may outlive
        the block: for `lease_s`, if the client is gone or has all of it.
        """
        ...

    def resumed_spool(self, spool_id: str) -> AbstractContextManager[Spooled]:
        """Lend a snapshot that another session left; `no-such-snapshot` if none is."""
        ...

    def release_spool(self, spool_id: str) -> bool:
        """Drop a snapshot that waits; False if there is none of that id."""
        ...

    @property
    def rails(self) -> Rails:
        """What clients may take of this worker at most, whatever they ask for."""
        ...

    def may_again(self, command: str, every_s: float) -> None:
        """Raise `busy` if that was asked for a moment ago."""
        ...

    def switch_off(self) -> None:
        """Have the agent leave after the answer, for as long as this process lives."""
        ...

    def leave(self, *, force: bool) -> bool:
        """Have the agent leave the worker after the answer; raise `refused` if the
        worker's own program started it, unless forced.

        Returns:
            Whether it had been brought from outside.
        """
        ...


class Hash(Protocol):
    """A running hash, as of hashlib."""

    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...
