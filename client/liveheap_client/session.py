"""One authenticated conversation with an agent.

A session sends one request at a time and hands out what comes: progress, chunks, and
at last the result. It is used by one thread. Leaving a stream early, by Ctrl-C or by
closing it, sends Cancel and waits shortly for the agent's last word on that request,
so that the session is clean for the next one; if that word does not come, the session
is closed, which ends the request at the agent as well.
"""

import contextlib
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any

from liveheap.errors import CommandError, LiveheapError, ProtocolError
from liveheap.protocol.auth import VERSION, Agreed, Ident, Scope
from liveheap.protocol.connection import CLOSED, NEED_DATA, Connection, Role
from liveheap.protocol.messages import (
    Cancel,
    Chunk,
    Failure,
    Progress,
    Request,
    Result,
)
from liveheap.protocol.results import Blob, Record, Table, Tree
from liveheap_client import patience as waiting
from liveheap_client.dial import DialOptions, dial
from liveheap_client.errors import ConnectionLost, TimedOut, TransportError
from liveheap_client.patience import Patience
from liveheap_client.target import Target
from liveheap_client.transport.base import Transport

Shape = Record | Table | Tree | Blob
Event = Progress | Chunk | Result

_CANCEL_WAIT_S = 3.0
_GONE_WITHIN_S = 5.0
_LOOK_EVERY_S = 0.01

# What to try where the agent did not say it.
_OLDER = (
    "the worker's agent is older than this client: update liveheap there, "
    "then restart the worker"
)
_HINTS = {
    "busy": "another command is running in the worker; try again when it is done",
    "failed": "the worker serves on: try again, and see liveheap status",
    "timeout": "give it longer: --timeout-s SECONDS",
    "unknown-command": _OLDER,
    "internal": "a fault of liveheap's; the worker serves on",
}


class Session:
    """A conversation with one worker, of one scope."""

    def __init__(
        self,
        transport: Transport,
        agreed: Agreed,
        *,
        trailing: bytes = b"",
        patience: Patience | None = None,
        local_pid: int | None = None,
        told: Mapping[str, str] | None = None,
    ) -> None:
        self._told = dict(told or {})
        self._transport = transport
        self._connection = Connection(Role.CLIENT, agreed=agreed)
        if trailing:
            self._connection.receive_data(trailing)
        self._patience = patience or Patience()
        self._local_pid = local_pid
        self._last_id = 0
        self._running: int | None = None
        self.agreed = agreed
        self.ident = Ident.parse(agreed.ident)
        self.closed = False

    @classmethod
    def open(
        cls, target: Target, *, scope: Scope, options: DialOptions | None = None
    ) -> "Session":
        """Connect, prove who is who, and return the session."""
        options = options or DialOptions()
        link = dial(target, scope=scope, options=options)
        if link.agreed.version < VERSION:
            options.patience.say(
                f"{target} speaks protocol {link.agreed.version}; this client would "
                f"speak {VERSION}: some answers may lack something"
            )
        return cls(
            link.transport,
            link.agreed,
            trailing=link.trailing,
            patience=options.patience,
            local_pid=link.local_pid,
            told=link.told,
        )

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End the session; what it started in the worker ends with it."""
        self.closed = True
        self._transport.close()

    def still_open(self) -> bool:
        """Return whether the agent has not hung up since its last word.

        An agent ends sessions that are idle for long; a prompt may well be.
        """
        if self.closed:
            return False
        try:
            data = self._transport.receive(timeout=0)
        except TimedOut:
            return True
        except TransportError:
            data = b""
        if not data:
            self.close()
            return False
        self._connection.receive_data(data)
        return True

    def see_it_end(self) -> None:
        """Wait until the agent hangs up, as it does when it leaves."""
        deadline = time.monotonic() + _GONE_WITHIN_S
        with contextlib.suppress(LiveheapError):
            while self.still_open() and time.monotonic() < deadline:
                time.sleep(_LOOK_EVERY_S)

    def request(
        self,
        command: str,
        args: Mapping[str, Any] | None = None,
        *,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Shape:
        """Return the result of a command that sends no chunks."""
        with contextlib.closing(self.stream(command, args)) as events:
            for event in events:
                if isinstance(event, Result):
                    return event.shape
                if isinstance(event, Progress) and on_progress:
                    on_progress(event)
        raise ConnectionLost(f"{command} ended without a result")

    def stream(
        self, command: str, args: Mapping[str, Any] | None = None
    ) -> Generator[Event, None, None]:
        """Yield what an agent answers; the last event is the Result.

        Raises CommandError if the agent says no.
        """
        self._last_id += 1
        number = self._last_id
        told, self._told = self._told, {}  # once is enough
        self._send(Request(number, command, dict(args or {}), told))
        finished, self._running = False, number
        try:
            while not finished:
                event = self._next(number)
                finished = isinstance(event, Result | Failure)
                if isinstance(event, Failure):
                    raise _no(event, args or {})
                yield event
        except (TransportError, ProtocolError):
            finished = True
            self.close()
            raise
        finally:
            self._running = None
            if not finished and not self.closed:
                self._cancel(number)

    def interrupt(self) -> bool:
        """Cancel the request that runs, and go on reading its answer.

        May be called by a signal's handler: nothing else is sent while a request runs.
        Returns whether one runs.
        """
        if self._running is None or self.closed:
            return False
        self._send(Cancel(id=self._running))
        return True

    def _next(self, number: int) -> Event | Failure:
        """Return the next event of a request, however long the agent is silent."""
        while True:
            event = self._connection.next_event()
            if event is NEED_DATA:
                self._receive(self._patience)
            elif event is CLOSED:
                raise self._transport.why_ended()
            elif isinstance(event, Request | Cancel):
                continue
            elif event.id == number:
                return event

    def _receive(self, patience: Patience) -> None:
        data = waiting.receive(self._transport, patience, pid=self._local_pid)
        if not data:
            raise self._transport.why_ended()
        self._connection.receive_data(data)

    def _send(self, message: Request | Cancel) -> None:
        try:
            self._transport.send(self._connection.send(message))
        except TransportError:
            self.close()
            raise

    def _cancel(self, number: int) -> None:
        """Cancel a request and read its remains; close the session if they hang."""
        deadline = time.monotonic() + _CANCEL_WAIT_S
        try:
            self._send(Cancel(id=number))
            while (left := deadline - time.monotonic()) > 0:
                event = self._connection.next_event()
                if event is NEED_DATA:
                    self._receive(Patience(timeout_s=left, quiet_s=left))
                elif event is CLOSED or (
                    isinstance(event, Result | Failure) and event.id == number
                ):
                    return
            self.close()
        except (LiveheapError, KeyboardInterrupt):
            self.close()


def _no(failure: Failure, args: Mapping[str, Any]) -> CommandError:
    hint = failure.hint or _HINTS.get(failure.code)
    if failure.code == "bad-argument" and any(
        f"no argument {name!r}" in failure.message for name in args
    ):
        hint = _OLDER  # the words were checked here before they were sent
    return CommandError(
        failure.code,
        failure.message,
        hint=hint,
        detail=dict(failure.detail or {}),
    )
