"""What both sides of the handshake share: layouts, answers, a buffer, a way to fail.

The layouts are the same for every version of the protocol, so that any two versions
can tell each other what they speak. auth.py has the two sides and the contract.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import ClassVar, NoReturn

from liveheap.errors import AuthenticationError, LocalProtocolError
from liveheap.protocol.keys import Scope

VERSION = 1
MIN_VERSION = 1
MAGIC = b"\x93LHEAP\r\n"
MAX_IDENT = 512
GATEWAY = "gateway-"  # so begins the instance in the ident of one that leads to workers
HANDSHAKE_DEADLINE_S = 5.0
FAILURE_DELAY_S = 0.1
MAX_UNAUTHENTICATED = 16
MAX_TOLD, MAX_TOLD_TEXT = 8, 256  # of who asks, once the handshake is done

M1 = struct.Struct("<8sBBHI32s")  # magic, version, scope, key id, expiry, cnonce
M2_HEAD = struct.Struct("<8sBBH32s")  # magic, version, status, L, snonce
M4_HEAD = struct.Struct("<BBH8s")  # accepted, scope, flags, session id
LATER = 2  # in place of accepted: a genuine client that is one too many
PROOF_BYTES = 32
NONCE_BYTES = 32
SESSION_ID_BYTES = 8


class Status(IntEnum):
    """The agent's first answer; everything but GO_ON ends the handshake."""

    GO_ON = 0
    NO_COMMON_VERSION = 1
    NO_SUCH_SCOPE = 2
    NO_SUCH_KEY = 3
    BUSY = 4
    EXPIRED = 5


# What a client makes of a refusal: the error's code, its words, its hint.
REFUSALS: dict[Status, tuple[str, str, str | None]] = {
    Status.NO_COMMON_VERSION: (
        "version",
        "the agent speaks protocol {agent} or newer, this client at most {client}",
        "use a newer liveheap on this side",
    ),
    Status.NO_SUCH_SCOPE: (
        "scope",
        "the worker does not offer scope {scope}",
        "its owner can: LIVEHEAP_ALLOW={scope} in its environment, and a new start; "
        "{means}",
    ),
    Status.NO_SUCH_KEY: (
        "key",
        "the agent has no usable token, or not this key",
        "look at the token file of the worker's user: its owner, mode 0600",
    ),
    Status.BUSY: (
        "busy",
        "the agent has as many sessions as it takes",
        "end one, or try again",
    ),
    Status.EXPIRED: ("expired", "the key has expired", "ask for a new one"),
}


# What the owner of a worker gives who allows a scope.
MEANS = {
    Scope.READ: "then figures of it may be read, and names of its types and tasks",
    Scope.GRAPH: "then names in its heap may leave it, and what refers to what",
    Scope.VALUES: "then keys and pieces of text from its heap may leave it",
    Scope.EXEC: "then whoever holds its token may run any code in it",
}


@dataclass(frozen=True, slots=True)
class Agreed:
    """What a finished handshake established."""

    scope: Scope
    version: int
    ident: str
    session_id: bytes
    expiry: int = 0


@dataclass(frozen=True, slots=True)
class Ident:
    """Who answers: host, pid, start time in clock ticks, and instance."""

    host: str
    pid: int
    start_time: int
    instance: str

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}:{self.start_time}:{self.instance}"

    @classmethod
    def parse(cls, text: str) -> Ident:
        """Split an ident; ValueError if it has not the four parts."""
        host, pid, start_time, instance = text.rsplit(":", 3)
        for number in (pid, start_time):
            if not (number.isascii() and number.isdigit() and len(number) <= 20):
                raise ValueError(f"not a number in an ident: {number!r:.40}")
        return cls(host, int(pid), int(start_time), instance)


class Step(Enum):
    """What a side of the handshake waits for."""

    CHALLENGE = "M2"
    IDENT = "ident and proof of M2"
    VERDICT = "M4"
    HELLO = "M1"
    PROOF = "M3"
    DONE = "nothing"
    FAILED = "nothing any more"


OPENING_STEPS = (Step.HELLO, Step.CHALLENGE)
ENDED = (Step.DONE, Step.FAILED)


class Handshake:
    """What both sides share: one buffer, one step at a time, one way to fail."""

    __slots__ = ("_buffer", "_key", "_m1", "_m2", "_out", "_result", "_step", "_wanted")
    PEER: ClassVar[str]

    def __init__(self, step: Step, wanted: int) -> None:
        self._buffer = bytearray()
        self._out = bytearray()
        self._step = step
        self._wanted = wanted
        self._key = b""
        self._m1 = b""
        self._m2 = b""
        self._result: Agreed | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} waits for {self._step.value}>"

    @property
    def done(self) -> bool:
        """Whether the handshake succeeded."""
        return self._step is Step.DONE

    @property
    def wanted(self) -> int:
        """How many bytes to read next at most; 0 once it is over."""
        return 0 if self._step in ENDED else self._wanted - len(self._buffer)

    @property
    def result(self) -> Agreed:
        """What was agreed; an error before `done`."""
        if self._result is None:
            raise LocalProtocolError("the handshake is not done")
        return self._result

    @property
    def trailing(self) -> bytes:
        """Bytes that came after the handshake's last message."""
        return bytes(self._buffer) if self.done else b""

    def data_to_send(self) -> bytes:
        """Take what is to be sent now; empty if nothing is."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def receive(self, data: bytes | memoryview) -> None:
        """Take bytes of the peer; none at all mean that it closed."""
        if self._step in ENDED:
            raise LocalProtocolError("the handshake is over")
        if not data:
            self._fail("closed", f"the {self.PEER} closed during the handshake")
        self._buffer += data
        self._check_opening()
        while self._step not in ENDED and len(self._buffer) >= self._wanted:
            message = bytes(memoryview(self._buffer)[: self._wanted])
            del self._buffer[: self._wanted]
            self._advance(message)

    def _advance(self, message: bytes) -> None:
        raise NotImplementedError

    def _check_opening(self) -> None:
        if self._step not in OPENING_STEPS:
            return
        seen = bytes(memoryview(self._buffer)[: len(MAGIC)])
        if not MAGIC.startswith(seen):
            self._fail(
                "not-liveheap",
                f"the other end is not a liveheap {self.PEER}: it began with {seen!r}",
            )

    def _await(self, step: Step, wanted: int) -> None:
        self._step = step
        self._wanted = wanted

    def _finish(self, agreed: Agreed) -> None:
        self._result = agreed
        self._step = Step.DONE
        self._forget()

    def _fail(self, code: str, message: str, *, hint: str | None = None) -> NoReturn:
        self._step = Step.FAILED
        self._buffer.clear()
        self._forget()
        raise AuthenticationError(message, hint=hint, code=code)

    def _forget(self) -> None:
        self._key = self._m1 = self._m2 = b""


def random_or(given: bytes | None, length: int) -> bytes:
    if given is None:
        return os.urandom(length)
    if len(given) != length:
        raise LocalProtocolError(f"expected {length} random bytes, got {len(given)}")
    return given
