"""One authenticated conversation: requests in, answers out, one command at a time.

A session runs in a raw thread of its own. While a command runs, the socket is looked
at between two steps: a `Cancel` is thrown into the command, a client that vanished
closes it, a second request is told `busy`. Either way the command's cleanup runs, so
what a session started ends with it.

Nothing a command does may hurt the worker: an expected no (`CommandError`), an answer
that breaks the rules of the wire, and a bug (any other exception, by type and place
only, for its text may hold values) all become a `Failure`, and the session goes on.
What ends it is the client: gone, silent or slow for too long, or against the rules.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any

from liveheap.agent.gate import Gate, never
from liveheap.agent.stream import PeerGone, Stream, do_nothing
from liveheap.commands import Command, Piece, Step
from liveheap.errors import (
    CommandError,
    LocalProtocolError,
    MessageTooLarge,
    ProtocolError,
    RemoteProtocolError,
)
from liveheap.protocol.auth import Agreed, Scope
from liveheap.protocol.connection import CLOSED, NEED_DATA, Connection
from liveheap.protocol.messages import (
    Cancel,
    Chunk,
    Failure,
    Progress,
    Request,
    Result,
    Role,
)
from liveheap.protocol.results import Blob

if TYPE_CHECKING:
    from liveheap.agent.heavy import Hold
    from liveheap.agent.service import Agent

RIGHT_FOR_S = 1.0


class Session:
    """A client's session, from the handshake's end to the socket's."""

    def __init__(
        self,
        stream: Stream,
        agreed: Agreed,
        agent: Agent,
        peer: Mapping[str, Any],
        is_stale: Callable[[], bool] = never,
    ) -> None:
        self.stream = stream
        self.agreed = agreed
        self.peer = peer
        self.context = agent.lend_context(self)
        self.told: Mapping[str, str] = {}
        self.cancelled = False
        self.leaving = False
        self._agent = agent
        self._connection = Connection(Role.AGENT, agreed=agreed)
        self._gate = Gate(agreed, is_stale, agent.is_switched_off)
        self._running: int | None = None
        self._hold: Hold | None = None
        self._pause_ns: object = None
        self._repeated: dict[str, int] = {}
        self._longest_s = agent.config.max_age
        self._over_at = time.monotonic() + self._longest_s
        self._right_until = time.monotonic() + RIGHT_FOR_S

    def serve(self, trailing: bytes) -> None:
        """Answer until the client is gone. Raises nothing."""
        why = "closed"
        try:
            self._agent.audit.write("session", self, event="start")
            if trailing:
                self._connection.receive_data(trailing)
            while not self.leaving:
                self._answer(self._next_request())
            why = "the agent leaves"
        except PeerGone as exc:
            why = str(exc)
        except ProtocolError as exc:
            why = f"protocol error: {exc}"[:200]
        except BaseException as exc:
            why = f"internal: {type(exc).__name__}"
        self.stream.close()
        self.context.let_go_of_all()
        again = {name: times for name, times in self._repeated.items() if times}
        self._agent.audit.write(
            "session",
            self,
            event="end",
            reason=why,
            bytes_out=self.stream.sent,
            **({"repeated": again} if again else {}),
        )

    def _next_request(self) -> Request:
        """Wait for the client's next request."""
        while True:
            event = self._connection.next_event()
            if isinstance(event, Request):
                return event
            if event is CLOSED:
                raise PeerGone("closed by the client")
            if event is NEED_DATA:
                self._connection.receive_data(self.stream.receive())
            self._check_age()

    def _answer(self, request: Request) -> None:
        """Run one command and send exactly one Result or Failure."""
        began, sent, outcome = time.monotonic(), self.stream.sent, "ok"
        self.told = self.told or request.told
        command = None
        self._running, self.cancelled, self._pause_ns = request.id, False, None
        over = self._gate.why_over()
        try:
            if over is not None:
                raise CommandError("scope", over)
            command = self._gate.admit(request.command)
            args = self._gate.check(command, request.args)
            shape = self._run(command, args)
            if isinstance(shape, Blob):
                self._pause_ns = shape.trailer.get("pause_ns")
            self._send(Result(request.id, shape))
        except CommandError as exc:
            outcome = self._refuse(Failure.of(request.id, exc))
        except (PeerGone, RemoteProtocolError):
            outcome = "gone"
            raise
        except MessageTooLarge as exc:
            outcome = self._refuse(Failure(request.id, "too-large", exc.message))
        except BaseException as exc:
            bug = describe_bug(exc, command)
            outcome = self._refuse(Failure(request.id, "internal", bug))
        finally:
            self._running = None
            self.stream.while_stalled = do_nothing
            if not self._is_repetition(command, outcome):
                self._agent.audit.write(
                    request.command if command is None else command.name,
                    self,
                    args=without_text(request.args),
                    result=outcome,
                    bytes_out=self.stream.sent - sent,
                    pause_ns=self._pause_ns,
                    seconds=round(time.monotonic() - began, 3),
                )
        if over is not None:
            raise PeerGone(over)

    def _is_repetition(self, command: Command | None, outcome: str) -> bool:
        """Count a harmless question that this session asked before; true if it is one.

        Who watches asks every second. A line for each would soon push those out of the
        log that tell something.
        """
        if command is None or outcome != "ok":
            return False
        if command.heavy or command.scope > Scope.READ:
            return False
        before = self._repeated.get(command.name)
        self._repeated[command.name] = 0 if before is None else before + 1
        return before is not None

    def _run(self, command: Command, args: dict[str, object]) -> Any:
        """Run a command's generator to its end; return the shape."""
        if not command.heavy:
            return self._drive(command.run(self.context, **args))
        with self._agent.heavy.hold(command.name, self) as self._hold:
            return self._drive(command.run(self.context, **args))

    def _refuse(self, failure: Failure) -> str:
        """Send a failure, whatever it holds; return the code that went out."""
        try:
            self._send(failure)
        except LocalProtocolError:
            failure = Failure(failure.id, "internal", "a failure that cannot be told")
            self._send(failure)
        return failure.code

    def let_go(self) -> None:
        """The running command needs the worker no longer; it has only to send."""
        if self._hold is not None:
            self._hold.release()

    def check(self) -> None:
        """Look at the client in the middle of a command's step.

        Raises:
            CommandError: it has cancelled.
            PeerGone: it is gone.
        """
        self._look()
        if self.cancelled:
            raise CommandError("cancelled", "cancelled")

    def _check_age(self) -> None:
        if time.monotonic() > self._over_at:
            raise PeerGone(f"a session lasts {self._longest_s:g} s at most")

    def _check_right(self) -> None:
        """End what runs once the session has lost its right; not asked at each step."""
        now = time.monotonic()
        if now > self._right_until:
            self._right_until = now + RIGHT_FOR_S
            if (over := self._gate.why_over()) is not None:
                raise PeerGone(over)

    def _drive(self, run: Generator[Step | Piece, None, Any]) -> Any:
        try:
            while True:
                self._look()
                if self.cancelled:
                    item = run.throw(CommandError("cancelled", "cancelled"))
                else:
                    item = next(run)
                self._pass_on(item)
        except StopIteration as stop:
            return stop.value
        finally:
            run.close()

    def _pass_on(self, item: Step | Piece) -> None:
        """Send what a command yielded."""
        running = self._running or 0
        if isinstance(item, Piece):
            self._send(
                Chunk(running, item.offset, item.raw_length, item.codec, item.data)
            )
        else:
            self._agent.heavy.note(self, item)
            self._pause_ns = item.detail.get("pause_ns", self._pause_ns)
            self._send(
                Progress(running, item.phase, item.done, item.total, dict(item.detail))
            )

    def _look(self) -> None:
        """Take what the client sent meanwhile, without waiting."""
        self._check_age()
        self._check_right()
        data = self.stream.receive_at_once()
        if data is not None:
            self._connection.receive_data(data)
        while True:
            event = self._connection.next_event()
            if event is NEED_DATA:
                return
            if event is CLOSED:
                raise PeerGone("closed by the client")
            if isinstance(event, Cancel):
                self.cancelled = self.cancelled or event.id == self._running
            elif isinstance(event, Request):
                self._send(
                    Failure(
                        event.id,
                        "busy",
                        "this session is answering another request",
                        "open another session",
                        {},
                    )
                )

    def _send(self, message: Any) -> None:
        self.stream.send(self._connection.send(message))


def without_text(args: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that may stand in a log: of texts only how long they are."""
    return {
        name: value if isinstance(value, (int, float)) else _kind(value)
        for name, value in args.items()
    }


def _kind(value: object) -> str:
    kind = type(value).__name__
    if isinstance(value, (str, bytes, list, dict)):
        return f"{kind} len={len(value)}"
    return kind


def describe_bug(exc: BaseException, command: Command | None) -> str:
    """Name an unexpected exception without its text, which may hold values."""
    place, trace = "", exc.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        place = f" at {code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    name = command.name if command is not None else "the request"
    return f"a bug of liveheap in {name}: {type(exc).__name__}{place}"
