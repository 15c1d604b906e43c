"""The way to one worker for as long as a command or a shell lasts.

Sessions come and go: each has one scope, an agent ends idle ones, links drop. A caller
opens what a verb needs, keeps it for the next verb, and makes sure that it is still the
same process that answers: the second half of a diff must not be of its successor.
"""

from collections.abc import Callable
from types import TracebackType

from liveheap.protocol.auth import Ident, Scope
from liveheap_client.dial import DialOptions
from liveheap_client.errors import WorkerGone
from liveheap_client.session import Session
from liveheap_client.target import Target

Open = Callable[[Scope], Session]


class Caller:
    """Opens and keeps sessions with one worker."""

    def __init__(self, open_session: Open) -> None:
        self._open = open_session
        self._sessions: dict[Scope, Session] = {}
        self._ident: Ident | None = None

    @classmethod
    def to(cls, target: Target, options: DialOptions) -> "Caller":
        """Return a caller that reaches a target."""
        return cls(lambda scope: Session.open(target, scope=scope, options=options))

    def session(self, scope: Scope) -> Session:
        """Return a live session that may ask for what needs `scope`."""
        for granted, session in sorted(self._sessions.items()):
            if granted >= scope and session.still_open():
                return session
        session = self.apart(scope)
        self._sessions[max(scope, session.agreed.scope)] = session
        return session

    def apart(self, scope: Scope) -> Session:
        """Open a session that is not kept for others: who asked for it closes it."""
        session = self._open(scope)
        try:
            self._check_same(session.ident)
        except WorkerGone:
            session.close()
            raise
        return session

    def hang_up(self) -> None:
        """Close all sessions; the next call opens a new one to the same worker."""
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()

    @property
    def has_answered(self) -> bool:
        """Return whether the worker has been reached at least once."""
        return self._ident is not None

    def __enter__(self) -> "Caller":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.hang_up()

    def _check_same(self, ident: Ident) -> None:
        before = self._ident or ident
        self._ident = before
        if (before.pid, before.start_time) != (ident.pid, ident.start_time):
            raise WorkerGone(
                f"process {before.pid} is gone; {ident.pid} answers in its place",
                hint="begin again: the worker was restarted",
            )
