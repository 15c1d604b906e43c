"""What the agent lends a command for one run: `liveheap.commands.context.Context`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from liveheap import tasks
from liveheap.agent import gate
from liveheap.agent.codecs import Packer
from liveheap.agent.copied import Copy
from liveheap.agent.copies import Coming, Keeper
from liveheap.commands.context import Heap, Held
from liveheap.commands.spooled import Spooled
from liveheap.console import LiveConsole
from liveheap.deltas import Left
from liveheap.errors import CommandError
from liveheap.history import Figures
from liveheap.hosts.gevent_spawn import HEIRS
from liveheap.protocol.auth import Scope
from liveheap.rails import Rails
from liveheap.tasks import Task

if TYPE_CHECKING:
    from liveheap.agent.service import Agent
    from liveheap.agent.session import Session

T = TypeVar("T")
H = TypeVar("H", bound=Held)


class AgentContext:
    """The agent as a command of one session sees it."""

    def __init__(self, agent: Agent, session: Session) -> None:
        self._agent = agent
        self._session = session
        self._held: dict[str, Any] = {}

    @property
    def heap(self) -> Heap:
        """The heap of this process."""
        return self._agent.heap

    @property
    def own_threads(self) -> tuple[int, ...]:
        """Native ids of the agent's threads."""
        return self._agent.threads.ids()

    @property
    def environ(self) -> Mapping[str, str]:
        """The worker's environment."""
        return self._agent.environ

    @property
    def spool_directory(self) -> str | None:
        """Where spools go, if that was set."""
        return self._agent.config.spool

    def facts(self) -> Mapping[str, Any]:
        """What is known of the worker right now, and what this session may ask."""
        return {
            **self._agent.facts(),
            "scope": self.scope.label,
            "scopes": gate.offered(self._agent.config.allow),
        }

    def figures(self) -> Sequence[Figures]:
        """What the history holds."""
        return self._agent.figures()

    def greenlets(self) -> int | None:
        """How many greenlets there are, where counting them is cheap."""
        return self._agent.greenlets()

    def tasks(self) -> frozenset[Task]:
        """What runs right now."""
        return frozenset(tasks.running())

    def labels(self) -> frozenset[Task]:
        """What runs right now, and the greenlets that tasks have spawned."""
        return self.tasks() | frozenset(HEIRS.labels())

    def done(self) -> Mapping[str, int]:
        """How many tasks have ended, by name."""
        return tasks.done()

    def overlapped(self) -> Mapping[str, int]:
        """How many of those had others beside them, by name."""
        return tasks.overlapped()

    def left_behind(self) -> Mapping[str, Left]:
        """What tasks left behind, by name."""
        return self._agent.deltas.by_name()

    @property
    def scope(self) -> Scope:
        """What this session may see."""
        return self._session.agreed.scope

    def thread_id(self, ident: int) -> int | None:
        """Return the number that a thread of the host has in a snapshot.

        Under gevent `threading` knows greenlets; what is no thread has no such id.
        """
        if sys.version_info < (3, 11):
            return ident
        if ident == self._agent.native.main_ident:
            return self._agent.identity.pid
        threading = sys.modules.get("threading")
        known = getattr(threading, "_active", {}).get(ident)
        native = getattr(known, "native_id", None)
        return native if type(native) is int else None

    def packer(self) -> Packer:
        """What packs the ranges of one stream."""
        return self._agent.codecs.packer()

    def held(self, key: str, make: Callable[[], H]) -> H:
        """What this session keeps under a key."""
        if key not in self._held:
            self._held[key] = make()
        kept: H = self._held[key]
        return kept

    def let_go_of_all(self) -> None:
        """Close what the session keeps. Raises nothing."""
        while self._held:
            with suppress(BaseException):
                self._held.popitem()[1].close()

    def console(self) -> LiveConsole:
        """The session's console."""
        return self.held("console", self._agent.open_console)

    def clone(
        self, *, max_pause_ms: float, force: bool, lives_s: float, is_free: bool
    ) -> Coming:
        """Begin to make the session's copy."""
        return self.held("clone", self._agent.copies.keeper).make(
            max_pause_ms=max_pause_ms,
            force=force,
            lives_s=lives_s,
            is_free=is_free,
            own_threads=frozenset(self.own_threads),
        )

    def made_clone(self) -> Copy:
        """The session's copy."""
        keeper: Keeper | None = self._held.get("clone")
        if keeper is None or keeper.copy is None:
            raise CommandError("refused", "this session has made no copy: ask `clone`")
        return keeper.copy

    def on_main(
        self, fn: Callable[[], T], timeout: float | None = None
    ) -> tuple[str, T]:
        """Run `fn` once, on the main thread if it can be had."""
        return self._agent.main_thread.run(fn, timeout)

    def audit(self, what: str, **facts: object) -> None:
        """Add a line to the audit log."""
        self._agent.audit.write(what, self._session, **facts)

    def check(self) -> None:
        """Look at the client."""
        self._session.check()

    def heap_is_free(self) -> None:
        """Let the next heavy command begin."""
        self._session.let_go()

    def while_stalled(self, look: Callable[[], object]) -> None:
        """Have `look` called now and then while the client takes nothing."""
        self._session.stream.while_stalled = look

    def keep_spool(
        self, lease_s: float
    ) -> AbstractContextManager[Callable[[Spooled], bool]]:
        """Lend a place for a snapshot."""
        return self._agent.spools.place(self._session, lease_s)

    def resumed_spool(self, spool_id: str) -> AbstractContextManager[Spooled]:
        """Lend a snapshot that another session left."""
        return self._agent.spools.taken(spool_id, self._session)

    def release_spool(self, spool_id: str) -> bool:
        """Drop a snapshot that waits."""
        return self._agent.spools.release(spool_id, self._session)

    @property
    def rails(self) -> Rails:
        """What clients may take at most."""
        return self._agent.config

    def may_again(self, command: str, every_s: float) -> None:
        """Note a command, unless the last one was a moment ago."""
        self._agent.heavy.may_again(command, every_s)

    def switch_off(self) -> None:
        """Have the agent leave once this command is answered, and stay away."""
        self._agent.stay_away()
        self._session.leaving = True

    def leave(self, *, force: bool) -> bool:
        """Have the agent leave the worker once this command is answered."""
        if not self._agent.injected and not force:
            raise CommandError(
                "refused",
                "this worker's own program started its agent",
                hint="--force ends it all the same, until the worker starts anew",
            )
        self._session.leaving = True
        return self._agent.injected
