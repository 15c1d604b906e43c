"""Clients between `accept` and the end of the handshake, all in the listener's thread.

A stranger costs a descriptor and a few hundred bytes, never a thread: the handshake
is sans-IO, so the listener's poll drives it for at most MAX_UNAUTHENTICATED visitors
of each transport: every user of the machine can reach a port, and must not keep the
owner out of the socket.
Each has HANDSHAKE_DEADLINE_S for the whole exchange, however it spaces its bytes. A
wrong proof is answered after FAILURE_DELAY_S, which is a date in the same poll.
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
        self.deadline = time.monotonic() + HANDSHAKE_DEADLINE_S
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

    def is_full_for(self, transport: object) -> bool:
        """Whether the next one by this transport has to be sent away."""
        visitors = self.visitors.values()
        same = [each for each in visitors if each.peer["transport"] == transport]
        return len(same) >= MAX_UNAUTHENTICATED

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
            self.failures += 1
            del self.visitors[fileno]
            visitor.leave()
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
            self.failures += 1
            self.visitors.pop(fileno).leave()
        return over

    def close(self) -> None:
        """Close all, without a word: also in a forked child, where it ends nothing."""
        for visitor in self.visitors.values():
            visitor.stream.close()
        self.visitors.clear()
