"""`liveheap gateway`: one loopback port that leads to all workers of its user.

A port per worker does not survive a fork, so there is one a machine, where somebody
wants one: for those who come over a forwarded port, or reach a host's loopback and
nothing else. A client shakes hands with the gateway, whose ident says what it is, and
asks for the list or for a worker. The gateway then opens that worker's session, with
the scope that it granted itself and the expiry of the client's key, and from then on
moves bytes. So a client gets nothing that it would not get at the worker's own socket,
and the worker's own ceiling holds.

Loopback only. Every user of the machine can reach the port, and between the ends
nothing protects the bytes: that is what ssh is for. No HTTP, and no word to whoever
does not begin with the magic. Strangers stay in the agent's lobby, in this thread;
whoever has proved himself gets one of MAX_GUESTS threads. Workers of other users are
not there, also for root. Nothing is written, so nothing is left behind.

The worker's session is opened with the token of that moment. So a guest whose own key
has run out, or was made of a token that has been replaced since, is told so and goes.
"""

import json
import os
import select
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from liveheap import registry, tokens
from liveheap.agent.config import parse_tcp
from liveheap.agent.gate import Gate, never
from liveheap.agent.listener import open_tcp
from liveheap.agent.lobby import Lobby, Visitor
from liveheap.agent.stream import Bell, PeerGone, Stream
from liveheap.errors import AuthenticationError, LiveheapError, ProtocolError
from liveheap.protocol.auth import AgentHandshake, Agreed, Ident, Key, Scope, scope_key
from liveheap.protocol.connection import CLOSED, NEED_DATA, Connection
from liveheap.protocol.exchange import GATEWAY
from liveheap.protocol.messages import Failure, Message, Request, Result, Role
from liveheap.protocol.results import Record
from liveheap_client import bridge, reach, roster, workers
from liveheap_client.errors import ConnectError, UsageError
from liveheap_client.reach import LocalLink, Reach
from liveheap_client.transport.relay import relay
from liveheap_client.workers import Worker

MAX_GUESTS = 16
MOST_LISTED = 1000
ASK_WITHIN_S = 60.0
IDLE_S = 3600.0
END_WITHIN_S = 3.0
REST_S = 0.1
TCP = {"transport": "tcp"}


def address(text: str) -> tuple[str, int]:
    """Read 127.0.0.1:PORT; raise UsageError for any other place."""
    try:
        found = parse_tcp(text)
    except ValueError as exc:
        raise UsageError(
            f"--listen {text}: {exc}",
            hint="--listen 127.0.0.1:PORT; from elsewhere: liveheap ps HOST:PORT, "
            "which goes through ssh",
        ) from exc
    if found is None:
        raise UsageError("--listen needs an address", hint="--listen 127.0.0.1:PORT")
    return found


class Gateway:
    """The port, the lobby before it, and the guests behind it."""

    def __init__(
        self, place: tuple[str, int], environ: Mapping[str, str], ceiling: Scope
    ) -> None:
        self.environ = environ
        self._ceiling = ceiling
        self._guests: dict[threading.Thread, Stream] = {}
        self._poll = select.poll()
        self._bell = Bell()
        self._lobby = Lobby(self._admit)
        self._resting_until: float | None = None
        try:
            self._listening = open_tcp(place)
        except OSError as exc:
            self._bell.close()
            raise ConnectError(
                f"cannot listen on {place[0]}:{place[1]}: {exc.strerror or exc}",
                hint="another port: --listen 127.0.0.1:PORT",
            ) from exc
        self._poll.register(self._listening.fileno(), select.POLLIN)
        self._poll.register(self._bell.fileno(), select.POLLIN)
        pid = os.getpid()
        self._ident = Ident(
            socket.gethostname(),
            pid,
            registry.start_time(pid) or 0,
            f"{GATEWAY}{os.urandom(4).hex()}",
        )

    @property
    def place(self) -> str:
        """The address that is listened on."""
        host, port, *_ = self._listening.getsockname()
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def serve(self) -> None:
        """Let clients in, for ever: an exception is the end."""
        while True:
            ready = self._poll.poll(self._timeout_ms())
            if self._resting_until and self._resting_until <= time.monotonic():
                self._resting_until = None
                self._poll.register(self._listening.fileno(), select.POLLIN)
            for fileno, _ in ready:
                if fileno == self._bell.fileno():
                    self._bell.quiet()
                elif fileno == self._listening.fileno():
                    self._accept()
                elif fileno in self._lobby.visitors and not self._lobby.advance(fileno):
                    self._forget(fileno)
            for fileno in self._lobby.sweep():
                self._forget(fileno)

    def _timeout_ms(self) -> float | None:
        dates = (self._lobby.next_deadline(), self._resting_until)
        known = [date for date in dates if date is not None]
        return max(min(known) - time.monotonic(), 0) * 1000 + 1 if known else None

    def close(self) -> None:
        """Close the port, hang up on all, and wait for their threads, within reason."""
        self._listening.close()
        self._lobby.close()
        guests = list(self._guests.items())
        for _, stream in guests:
            stream.hang_up()
        until = time.monotonic() + END_WITHIN_S
        for thread, _ in guests:
            thread.join(max(until - time.monotonic(), 0))
        self._bell.close()

    def _accept(self) -> None:
        opens_at = self._lobby.opens_at(TCP["transport"])
        if opens_at > time.monotonic():
            self._resting_until = opens_at
            self._poll.unregister(self._listening.fileno())
            return
        shown_out = self._lobby.make_room(TCP["transport"])
        if shown_out is not None:
            self._forget(shown_out)
        try:
            fileno, _ = self._listening._accept()  # type: ignore[attr-defined]
        except (BlockingIOError, ConnectionError):
            return
        except OSError:  # no descriptor left: whoever waits goes on waiting
            time.sleep(REST_S)
            return
        accepted = socket.socket(fileno=fileno)
        reader = tokens.Reader(self.environ, None)
        handshake = AgentHandshake(
            reader,
            self._ident,
            self._ceiling,
            busy=lambda: len(self._guests) >= MAX_GUESTS,
        )
        stream = Stream(accepted, idle_s=ASK_WITHIN_S)
        self._lobby.enter(Visitor(stream, handshake, TCP, reader.is_stale))
        self._poll.register(accepted.fileno(), select.POLLIN)

    def _forget(self, fileno: int) -> None:
        with suppress(KeyError, ValueError):
            self._poll.unregister(fileno)

    def _admit(self, visitor: Visitor) -> None:
        """Give whoever proved himself a thread."""
        self._forget(visitor.stream.fileno())
        if len(self._guests) >= MAX_GUESTS:
            visitor.leave()
            return
        guest = Guest(self.environ, visitor)
        thread = threading.Thread(
            target=self._host, args=(guest, visitor.stream), daemon=True
        )
        self._guests[thread] = visitor.stream
        thread.start()

    def _host(self, guest: "Guest", stream: Stream) -> None:
        try:
            guest.serve()
        except (PeerGone, ProtocolError, OSError):
            pass
        finally:
            stream.hang_up()
            stream.close()
            self._guests.pop(threading.current_thread(), None)


class Guest:
    """One client that holds the token, until its worker takes over."""

    def __init__(self, environ: Mapping[str, str], visitor: Visitor) -> None:
        self._environ = environ
        self._stream = visitor.stream
        self._agreed = visitor.handshake.result
        self._connection = Connection(Role.AGENT, agreed=self._agreed)
        self._trailing = visitor.handshake.trailing
        self._gate = Gate(self._agreed, visitor.is_stale, never)

    def serve(self) -> None:
        """Answer until a worker is asked for; then relay until either side ends."""
        if self._trailing:
            self._connection.receive_data(self._trailing)
        while (event := self._connection.next_event()) is not CLOSED:
            if event is NEED_DATA:
                self._connection.receive_data(self._stream.receive())
            elif isinstance(event, Request):
                link = self._answer(event)
                if link is not None:
                    connected = link.transport.detach()
                    fileno = self._stream.fileno()
                    relay(
                        connected,
                        link.trailing,
                        stdin=fileno,
                        stdout=fileno,
                        idle_s=IDLE_S,
                    )
                    return
                if self._gate.why_over() is not None:
                    return

    def _answer(self, request: Request) -> LocalLink | None:
        """Answer one request; return the worker's link if it asked for one."""
        link: LocalLink | None = None
        try:
            self._check_right()
            if request.command == "workers":
                answer: Message = Result(request.id, self._list())
            elif request.command == "worker":
                link = self._open(request.args)
                answer = Result(request.id, told(link.agreed))
            else:
                answer = Failure(
                    request.id, "unknown-command", "a gateway has: workers, worker"
                )
        except LiveheapError as exc:
            said = bridge.failure(exc)
            answer = Failure(request.id, "failed", str(exc), exc.hint, said)
        try:
            self._stream.send(self._connection.send(answer))
        except BaseException:
            if link is not None:
                link.transport.close()
            raise
        return link

    def _check_right(self) -> None:
        over = self._gate.why_over()
        if over is not None:
            raise AuthenticationError(over, hint="connect anew", code="expired")

    def _list(self) -> Record:
        """Return the workers as `ps` knows them."""
        with roster.calling(self._environ) as roll:
            rows = roster.take(self._workers(), roll)
        plain = json.loads(json.dumps(rows[:MOST_LISTED], default=str))
        return Record((("workers", "list", plain),))

    def _open(self, args: Mapping[str, Any]) -> LocalLink:
        """Open the session of the worker that is wanted, in the guest's own scope."""
        how = Reach(
            environ=self._environ,
            scope=self._agreed.scope,
            max_version=self._agreed.version,
        )
        found = chosen(self._workers(), args.get("pid"), args.get("name"))
        key = self._key(found)
        self._check_right()  # behind the reading: what was read may be a new token
        door = reach.knock(found, how)
        try:
            agreed, trailing = reach.shake_hands(
                door.transport, key, door.expected, how, pid=door.pid
            )
        except BaseException:
            door.transport.close()
            raise
        return LocalLink(door.transport, agreed, trailing)

    def _key(self, found: Worker) -> Key:
        """Return the key that the guest could have made, or has."""
        token = tokens.find_token(self._environ, found.entry.socket.parent)
        scope, expiry = self._agreed.scope, self._agreed.expiry
        return Key(scope, scope_key(token, scope, expiry), expiry)

    def _workers(self) -> list[Worker]:
        """Return the workers of this user: root, too, has its own here and no other."""
        found = workers.local(self._environ)
        return [worker for worker in found if worker.fact("uid") == os.geteuid()]


def chosen(found: Sequence[Worker], pid: object, name: object) -> Worker:
    """Return the worker of that pid or name, or the only one."""
    if isinstance(pid, int):
        for worker in found:
            if worker.pid == pid:
                return worker
        raise ConnectError(
            f"no worker {pid} of the gateway's user", hint="liveheap ps lists them"
        )
    if isinstance(name, str):
        return workers.by_name(found, name)
    return workers.only(found)


def told(agreed: Agreed) -> Record:
    """Return what was agreed with a worker, as its client needs it."""
    return Record(
        (
            ("ident", "text", agreed.ident),
            ("scope", "count", int(agreed.scope)),
            ("version", "count", agreed.version),
            ("session", "text", agreed.session_id.hex()),
        )
    )
