"""One question to many agents of this machine at once, and no waiting for the slow.

A list of sixty workers must not take sixty times a worker's time, nor hang at the one
that is stopped. So all sessions are driven by one poll: handshake and frames are
sans-IO. Who has not answered at the deadline is silent, which is an answer as well: its
interpreter is stopped, or held by a long call. It is not to be confused with who says
no (`refused`: another user's token, too many sessions, nobody at the socket). A session
that is open stays open for the next call, until `close`; one that was too slow is given
up.

Standard library and the protocol only: this runs on bare servers.
"""

import select
import socket
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from liveheap import registry
from liveheap.errors import LiveheapError
from liveheap.protocol.auth import ClientHandshake, Scope
from liveheap.protocol.connection import CLOSED, NEED_DATA, Connection
from liveheap.protocol.messages import Failure, Request, Result, Role
from liveheap.protocol.results import Shape
from liveheap_client import credentials, otheruser
from liveheap_client.credentials import Secret
from liveheap_client.transport import unix
from liveheap_client.workers import Worker

RECEIVE_BYTES = 1 << 16
KNOCK_WITHIN_S = 0.5

Key = tuple[int, int]


class Hopeless(Exception):
    """This session leads to no answer."""


class Call:
    """One worker's session: from the connect to the answer, a step at a time."""

    def __init__(
        self, worker: Worker, secret: Secret, connected: socket.socket | None = None
    ) -> None:
        self.answer: Shape | None = None
        self.answered = False
        self._connection: Connection | None = None
        self._question = ""
        self._asked = 0
        self._unsent = b""
        self._handshake = ClientHandshake(
            secret,
            credentials.fitting(secret, Scope.READ),
            expect_pid=worker.entry.inner_pid or worker.pid,
            expect_start=worker.entry.start_time,
        )
        self._socket = connected or socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.setblocking(False)
            if connected is None:
                with registry.connect_path(worker.entry) as path:
                    unix.check(path, f"worker {worker.pid}")
                    self._socket.connect(path)
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def events(self) -> int:
        """What to poll for."""
        return select.POLLIN | (select.POLLOUT if self._unsent else 0)

    @property
    def has_ended(self) -> bool:
        """Whether the agent has hung up since: it ends sessions that are idle."""
        try:
            return not self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def ask(self, command: str) -> None:
        """Ask, as soon as the session stands."""
        self.answer, self.answered, self._question = None, False, command
        self._go_on()

    def advance(self, events: int) -> None:
        """Do what can be done now; raise Hopeless if that leads nowhere."""
        if events & ~select.POLLOUT:
            self._receive()
        self._go_on()

    def close(self) -> None:
        self._socket.close()

    def _receive(self) -> None:
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        if not data:
            raise Hopeless("closed")
        if self._connection is None:
            self._handshake.receive(data)
        else:
            self._connection.receive_data(data)

    def _go_on(self) -> None:
        """Send what is owed; read what came."""
        if self._connection is None:
            self._unsent += self._handshake.data_to_send()
            if self._handshake.done:
                self._connection = Connection(
                    Role.CLIENT, agreed=self._handshake.result
                )
                trailing = bytes(self._handshake.trailing)
                if trailing:
                    self._connection.receive_data(trailing)
        if self._connection is not None:
            if self._question:
                self._asked += 1
                question, self._question = self._question, ""
                request = Request(id=self._asked, command=question, args={})
                self._unsent += self._connection.send(request)
            self._read_answer(self._connection)
        if self._unsent:
            with suppress(BlockingIOError):
                self._unsent = self._unsent[self._socket.send(self._unsent) :]

    def _read_answer(self, connection: Connection) -> None:
        while (event := connection.next_event()) is not NEED_DATA:
            if event is CLOSED:
                raise Hopeless("closed")
            if isinstance(event, Result | Failure) and event.id == self._asked:
                self.answered = True
                self.answer = event.shape if isinstance(event, Result) else None


class RollCall:
    """The sessions with the workers of this machine, one each, reused call by call."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.refused: set[Key] = set()
        """Who said no when asked last."""
        self._calls: dict[Key, Call] = {}
        self._secrets: dict[Path, Secret] = {}

    def __enter__(self) -> "RollCall":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def ask(
        self, workers: Iterable[Worker], command: str, *, deadline_s: float
    ) -> dict[Key, Shape | None]:
        """Return what each worker answered in time; None: it does not know that.

        The time begins when all have been asked: to knock as another user takes some.
        """
        self.refused = set()
        waiting = self._begin(workers, command)
        deadline = time.monotonic() + deadline_s
        poll = select.poll()
        for call in waiting.values():
            poll.register(call, call.events)
        by_descriptor = {call.fileno(): key for key, call in waiting.items()}
        while waiting and (left := deadline - time.monotonic()) > 0:
            for descriptor, events in poll.poll(left * 1000):
                key = by_descriptor[descriptor]
                if self._advance(key, events):
                    poll.modify(descriptor, waiting[key].events)
                else:
                    poll.unregister(descriptor)
                    del waiting[key]
        answers = {
            key: call.answer for key, call in self._calls.items() if call.answered
        }
        for key in waiting:
            self._give_up(key)
        return answers

    def close(self) -> None:
        """End all sessions."""
        for key in list(self._calls):
            self._give_up(key)

    def _begin(self, workers: Iterable[Worker], command: str) -> dict[Key, Call]:
        """Ask each worker; give up the sessions of those that are gone."""
        wanted = {(worker.pid, worker.entry.start_time): worker for worker in workers}
        self._secrets.clear()  # a token may have been replaced since
        for key in list(self._calls):
            if key not in wanted:
                self._give_up(key)
        for key, worker in wanted.items():
            try:
                call = self._calls.get(key)
                if call is None or call.has_ended:
                    self._give_up(key)
                    call = self._calls[key] = self._call(worker)
                call.ask(command)
            except BlockingIOError:  # too many wait there already: it accepts nobody
                self._give_up(key)
            except (OSError, LiveheapError, Hopeless):
                self.refused.add(key)
                self._give_up(key)
        return dict(self._calls)

    def _advance(self, key: Key, events: int) -> bool:
        """Let one session go on; return whether to wait for it still."""
        call = self._calls[key]
        try:
            call.advance(events)
        except (OSError, LiveheapError, Hopeless):
            self.refused.add(key)
            self._give_up(key)
            return False
        return not call.answered

    def _give_up(self, key: Key) -> None:
        call = self._calls.pop(key, None)
        if call is not None:
            call.close()

    def _call(self, worker: Worker) -> Call:
        """Connect to a worker; as its own user, if we are root."""
        owner = worker.fact("uid")
        if not otheruser.is_needed(owner):
            return Call(worker, self._secret(worker))
        transport, token = otheruser.knock(
            owner,
            worker.entry.socket,
            timeout_s=KNOCK_WITHIN_S,
            peer=f"worker {worker.pid}",
        )
        secret = credentials.chosen(self._environ) or token
        if secret is None:
            transport.close()
            raise Hopeless("its user has no token")
        return Call(worker, secret, transport.detach())

    def _secret(self, worker: Worker) -> Secret:
        directory = worker.entry.socket.parent
        if directory not in self._secrets:
            found = credentials.find(self._environ, directory)
            self._secrets[directory] = found
        return self._secrets[directory]
