"""The one thread of an agent at rest: it sleeps in `poll` until somebody connects.

While nobody is in the lobby it wakes for the history alone, every minute, and
never where that is off. Whenever it wakes it looks for the kill switch's file. What it
polls: the Unix socket, the optional TCP one, a bell, and the lobby's visitors. Who is
through the handshake gets a thread of its own, and is no longer this thread's business.

A worker may move away from under the sockets: it closes every descriptor it has, or
becomes another user, who can neither read the token nor be found in the old directory.
Then `serve` ends and says `displaced`, and the agent comes up where the worker now is.
"""

from __future__ import annotations

import _socket
import os
import select
import struct
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from liveheap import registry
from liveheap.agent.descriptor import OwnSocket, SocketLost
from liveheap.agent.lobby import Allowance, Lobby, Visitor
from liveheap.agent.stream import Bell, Stream
from liveheap.protocol.auth import AgentHandshake

if TYPE_CHECKING:
    from liveheap.agent.service import Agent

BACKLOG = 1024
UCRED = struct.Struct("3i")
REST_S = 1.0
SETTLE_S = 5.0
FORKED_S = 0.5


def open_unix(path: str) -> _socket.socket:
    """Bind a socket, mode 0600 from its first moment, over whatever had the name.

    It has the name from when it listens on: whoever finds it can connect.
    """
    folder, name = os.path.split(path)
    stem = name.removesuffix(".sock")
    unnamed = os.path.join(folder, f".{stem}.{os.urandom(4).hex()}")
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        os.fchmod(sock.fileno(), 0o600)
        sock.setblocking(False)
        with registry.socket_path(Path(unnamed)) as short:
            sock.bind(short)
        sock.listen(BACKLOG)
        os.rename(unnamed, path)
    except BaseException:
        sock.close()
        with suppress(OSError):
            os.unlink(unnamed)
        raise
    return sock


def open_tcp(address: tuple[str, int]) -> _socket.socket:
    """Bind a loopback port."""
    family = _socket.AF_INET6 if ":" in address[0] else _socket.AF_INET
    sock = _socket.socket(family, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        sock.setblocking(False)
        sock.bind(address)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def transport_of(family: int) -> str:
    """Return what clients of a socket's family come by."""
    return "unix" if family == _socket.AF_UNIX else "tcp"


class Listener:
    """The sockets that clients connect to, and the loop over them."""

    def __init__(self, agent: Agent, sockets: list[_socket.socket]) -> None:
        self.displaced = False
        self._agent = agent
        self._uid = os.getuid()
        self._sockets = {sock.fileno(): OwnSocket(sock) for sock in sockets}
        self._names = [sock.getsockname() for sock in sockets]
        self._accepting = False
        self._bell = Bell()
        self._poll = agent.native.poll()
        self._lobby = Lobby(self._admit)
        self._allowance = Allowance()
        self._stopping = False
        self._resting: dict[int, float] = {}
        self._settle_at: float | None = time.monotonic() + SETTLE_S
        self._note_at = time.monotonic() if agent.history is not None else None
        self._poll.register(self._bell.fileno(), select.POLLIN)
        for fileno in self._sockets:
            self._poll.register(fileno, select.POLLIN)

    def addresses(self) -> list[Any]:
        """Return what the sockets are bound to."""
        return self._names

    def serve(self) -> None:
        """Accept until told to stop, or until `displaced`. Raises nothing."""
        while not self._stopping and not self.displaced:
            try:
                self._turn()
            except SocketLost:
                self.displaced = True
            except Exception:
                self._agent.failures += 1
                self._agent.native.sleep(REST_S)
        self.close()

    def stop(self) -> None:
        """End `serve`, from any thread."""
        self._stopping = True
        self._bell.ring()

    def wake(self) -> None:
        """Have the facts looked at again in a moment, from any thread.

        Not at once: who has just forked still stands where a forking master does, and
        its stack shows that.
        """
        self._settle_at = time.monotonic() + FORKED_S
        self._bell.ring()

    def ring(self) -> None:
        """Have the dates looked at again, from any thread."""
        self._bell.ring()

    def close(self) -> None:
        """Close every descriptor. In a forked child it ends nothing of the parent's."""
        for sock in self._sockets.values():
            sock.close()
        self._sockets.clear()
        self._lobby.close()
        self._bell.close()

    def close_in_child(self) -> None:
        """Close every descriptor that a fork has copied, also one not yet noted."""
        self.close()
        if not self._accepting:
            return
        for name in os.listdir("/proc/self/fd"):
            with suppress(OSError):
                sock = _socket.socket(fileno=int(name))
                is_ours = sock.getsockname() in self._names
                os.close(sock.detach()) if is_ours else sock.detach()

    def _turn(self) -> None:
        ready = self._poll.poll(self._timeout_ms())
        if self._agent.is_switched_off():
            self._agent.obey_the_switch()
            self._stopping = True
            return
        if self._note() and not ready:
            return  # whatever else is due is so still, and the next poll does not wait
        self._check_place()
        began = time.thread_time()
        for fileno, _ in ready:
            if fileno == self._bell.fileno():
                self._bell.quiet()
            elif fileno in self._lobby.visitors and not self._lobby.advance(fileno):
                self._forget(fileno)
        for fileno, _ in ready:  # after those who are in, and may be about to go
            if fileno in self._sockets:
                self._receive_one(fileno)
        for fileno in self._lobby.sweep():
            self._forget(fileno)
        self._keep_house()
        self._allowance.spend(time.thread_time() - began)

    def _note(self) -> bool:
        """Note the worker's figures if it is time: all that an agent at rest does."""
        now = time.monotonic()
        if self._note_at is None or now < self._note_at:
            return False
        self._note_at = now + self._agent.config.history
        self._agent.note_history()
        return True

    def _check_place(self) -> None:
        """Raise SocketLost if the worker has moved away from here."""
        if os.getuid() != self._uid:
            raise SocketLost("the worker has become another user")
        whole = all(sock.is_ours for sock in self._sockets.values())
        if not whole or not self._bell.is_ours:
            raise SocketLost("the worker has closed the agent's sockets")

    def _timeout_ms(self) -> int | None:
        dates = (
            self._lobby.next_deadline(),
            self._settle_at,
            self._note_at,
            self._agent.spools.next_deadline(),
            *self._resting.values(),
        )
        known = [date for date in dates if date is not None]
        if not known:
            return None
        return max(0, int((min(known) - time.monotonic()) * 1000) + 1)

    def _keep_house(self) -> None:
        """Do what is due: listen again after a rest, settle, count strangers."""
        now = time.monotonic()
        for fileno in [fd for fd, until in self._resting.items() if until <= now]:
            del self._resting[fileno]
            self._poll.register(fileno, select.POLLIN)
        if self._settle_at is not None and now >= self._settle_at:
            self._settle_at = None
            self._agent.settle()
        self._agent.spools.sweep()
        if self._lobby.failures:
            self._agent.count_strangers(self._lobby.failures)
            self._lobby.failures = 0

    def _rest(self, fileno: int, until: float) -> None:
        """Leave a listening socket alone for a while: who connects waits there."""
        self._resting[fileno] = until
        self._poll.unregister(fileno)

    def _receive_one(self, fileno: int) -> None:
        """Take one client, unless strangers have had their share for now."""
        listening = self._sockets[fileno]
        transport = transport_of(listening.socket.family)
        may_at = max(self._lobby.opens_at(transport), self._allowance.returns_at())
        if may_at > time.monotonic():
            self._rest(fileno, may_at)
            return
        shown_out = self._lobby.make_room(transport)
        if shown_out is not None:
            self._forget(shown_out)
        self._accept(fileno, listening)

    def _accept(self, fileno: int, listening: OwnSocket) -> None:
        """Take one client; a fork meanwhile finds its descriptor by our name."""
        self._accepting = True
        try:
            taken, _ = listening.socket._accept()  # type: ignore[attr-defined]
            sock = _socket.socket(fileno=taken)
            try:
                self._receive(sock, listening.socket.family)
            except BaseException:
                sock.close()
                raise
        except (BlockingIOError, InterruptedError, ConnectionError):
            return
        except SocketLost:
            raise
        except OSError:
            self._rest(fileno, time.monotonic() + REST_S)
        finally:
            self._accepting = False

    def _receive(self, sock: _socket.socket, family: int) -> None:
        """Let a client into the lobby, or close it at once."""
        peer = self._identify(sock, family)
        if peer is None:
            self._lobby.failures += 1
            sock.close()
            return
        reader = self._agent.token_reader()
        handshake = AgentHandshake(
            reader,
            self._agent.ident,
            self._agent.config.allow,
            busy=self._agent.is_full,
        )
        stream = Stream(sock, idle_s=self._agent.config.max_idle)
        visitor = Visitor(stream, handshake, peer, reader.is_stale)
        self._lobby.enter(visitor)
        self._poll.register(sock.fileno(), select.POLLIN)

    def _identify(
        self, sock: _socket.socket, family: int
    ) -> Mapping[str, object] | None:
        """Return who is there; None for a uid that has no business here."""
        if family != _socket.AF_UNIX:
            return {"transport": transport_of(family)}
        pid, uid, _ = UCRED.unpack(
            sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, UCRED.size)
        )
        if uid not in {os.geteuid(), 0} | self._agent.config.allow_uids:
            return None
        return {"transport": "unix", "pid": pid, "uid": uid}

    def _admit(self, visitor: Visitor) -> None:
        """Give a client that is through the handshake a session."""
        self._forget(visitor.stream.fileno())
        handshake = visitor.handshake
        self._agent.begin_session(
            visitor.stream,
            handshake.result,
            visitor.peer,
            handshake.trailing,
            visitor.is_stale,
        )

    def _forget(self, fileno: int) -> None:
        try:
            self._poll.unregister(fileno)
        except (KeyError, ValueError):
            return
