"""Clients between `accept` and the end of the handshake, all in the listener's thread.

A stranger costs a descriptor and a few hundred bytes, never a thread: the handshake
is sans-IO, so the listener's poll drives it for at most MAX_UNAUTHENTICATED visitors
of each transport: every user of the machine can reach a port, and must not keep the
owner out of the socket.
Each has HANDSHAKE_DEADLINE_S for the whole exchange, however it spaces its bytes. A
wrong proof is answered after FAILURE_DELAY_S, which is a date in the same poll.

Who sits there and says nothing must not keep out who has something to say. An honest
client is through in milliseconds; so once the lobby is full, the one who came first
goes for each who comes, but not before it has had GRACE_S. Nobody is accepted to be
closed at once: who has to wait waits in the kernel's queue, first come, first served,
and costs the worker nothing there.

Nor may many strangers who come and go cost more than a few: all that is done for them
together gets SHARE of one processor, on top of what was saved up in quiet times.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from liveheap.agent.stream import PeerGone, Stream
from liveheap.errors import AuthenticationError, LiveheapError
from liveheap.protocol.auth import (
    FAILURE_DELAY_S,
    HANDSHAKE_DEADLINE_S,
    MAX_UNAUTHENTICATED,
    AgentHandshake,
)

NOT_GENUINE = "not-genuine"
GRACE_S = 0.25
SHARE = 0.05
SAVED_UP_S = 0.1


class Visitor:
    """One client that has not proved anything yet."""

    def __init__(
        self,
        stream: Stream,
        handshake: AgentHandshake,
        peer: Mapping[str, Any],
        is_stale: Callable[[], bool],
    ) -> None:
        self.stream = stream
        self.handshake = handshake
        self.peer = peer
        self.is_stale = is_stale
        self.came = time.monotonic()
        self.deadline = self.came + HANDSHAKE_DEADLINE_S
        self.last_words: bytes | None = None
        self.unsent = b""

    def advance(self) -> bool:
        """Take what came; return whether the handshake is done.

        Raises:
            PeerGone: the visitor left, or is not worth an answer.
        """
        data = self.stream.receive_at_once(self.handshake.wanted)
        if data is None:
            return False
        try:
            self.handshake.receive(data)
        except AuthenticationError as exc:
            self._turn_away(exc)
            return False
        self._send()
        return self.handshake.done

    def _turn_away(self, exc: AuthenticationError) -> None:
        """Keep the answer for the moment when it may go out, and then close."""
        self.last_words = self.handshake.data_to_send()
        delay = FAILURE_DELAY_S if exc.code == NOT_GENUINE else 0.0
        self.deadline = min(self.deadline, time.monotonic() + delay)

    def _send(self) -> None:
        """Send an answer; it fits an empty buffer, and a full one is not a client's."""
        data = self.handshake.data_to_send()
        if data and self.stream.send_at_once(data) != len(data):
            raise PeerGone("reads nothing")

    def leave(self) -> None:
        """Say the last words, if there are any, and close."""
        if self.last_words:
            with suppress(PeerGone):
                self.stream.send_at_once(self.last_words)
        self.stream.hang_up()
        self.stream.close()


class Lobby:
    """The visitors of one listener. Used by the listener's thread alone."""

    def __init__(self, admit: Callable[[Visitor], None]) -> None:
        self.visitors: dict[int, Visitor] = {}
        self.failures = 0
        self._admit = admit

    def opens_at(self, transport: object) -> float:
        """Return when the next one by this transport may come in."""
        same = self._all_by(transport)
        return same[0].came + GRACE_S if len(same) >= MAX_UNAUTHENTICATED else 0.0

    def make_room(self, transport: object) -> int | None:
        """Show out who came first, if it is full; return that one's descriptor."""
        same = self._all_by(transport)
        if len(same) < MAX_UNAUTHENTICATED:
            return None
        fileno = same[0].stream.fileno()
        self._show_out(fileno)
        return fileno

    def _all_by(self, transport: object) -> list[Visitor]:
        """Return those who came by a transport, in the order in which they came."""
        visitors = self.visitors.values()
        return [each for each in visitors if each.peer["transport"] == transport]

    def enter(self, visitor: Visitor) -> None:
        """Let a visitor in."""
        self.visitors[visitor.stream.fileno()] = visitor

    def advance(self, fileno: int) -> bool:
        """Let one visitor take its next step; return whether to go on polling it."""
        visitor = self.visitors[fileno]
        try:
            if visitor.advance():
                del self.visitors[fileno]
                self._admit(visitor)
                return False
        except (PeerGone, LiveheapError):
            self._show_out(fileno)
            return False
        return visitor.last_words is None

    def next_deadline(self) -> float | None:
        """Return when somebody has to go, if there is anybody."""
        return min((each.deadline for each in self.visitors.values()), default=None)

    def sweep(self) -> list[int]:
        """Show out everybody whose time is over; return their descriptors."""
        now = time.monotonic()
        over = [fd for fd, each in self.visitors.items() if each.deadline <= now]
        for fileno in over:
            self._show_out(fileno)
        return over

    def _show_out(self, fileno: int) -> None:
        self.failures += 1
        self.visitors.pop(fileno).leave()

    def close(self) -> None:
        """Close all, without a word: also in a forked child, where it ends nothing."""
        for visitor in self.visitors.values():
            visitor.stream.close()
        self.visitors.clear()


class Allowance:
    """What strangers may cost: a share of a processor, and what was saved up."""

    def __init__(self) -> None:
        self._saved_s = SAVED_UP_S
        self._since = time.monotonic()

    def spend(self, seconds: float) -> None:
        """Note processor time that went into strangers."""
        now = time.monotonic()
        earned = (now - self._since) * SHARE
        self._saved_s = min(self._saved_s + earned, SAVED_UP_S) - seconds
        self._since = now

    def returns_at(self) -> float:
        """Return when there is something to spend again."""
        return self._since - self._saved_s / SHARE if self._saved_s < 0 else 0.0
