"""The six messages, and the tables that say what each may hold and who may send it.

A message is frozen plain data. KINDS maps each class to its word on the wire, its
sender and its fields with their checks; reader and writer both work from it, so what
one side can send is exactly what the other accepts. A fault is the writer's
LocalProtocolError or the reader's RemoteProtocolError. Fields the table does not name
are ignored: a newer peer may send them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from liveheap.errors import (
    CommandError,
    LocalProtocolError,
    ProtocolError,
    RemoteProtocolError,
)
from liveheap.protocol.exchange import MAX_TOLD, MAX_TOLD_TEXT
from liveheap.protocol.results import (
    FAILURE_CODES,
    Shape,
    check_before_sending,
    shape_from_wire,
)

MAX_WORD = 64
MAX_RAW_RANGE = 4 * 1024 * 1024
CODEC_STORED = 0
CODEC_ZSTD = 1


class Role(Enum):
    """Which end of the conversation one is."""

    CLIENT = "client"
    AGENT = "agent"

    @property
    def peer(self) -> Role:
        """The other end."""
        return Role.AGENT if self is Role.CLIENT else Role.CLIENT


@dataclass(frozen=True, slots=True)
class Request:
    """Run a command; the id is the client's choice among those not in use.

    `told` is what the client says of who asks, for the agent's audit log. Nothing
    proves it, and nothing is decided by it.
    """

    id: int
    command: str
    args: dict[str, Any] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop the request; it still ends with a result or a failure."""

    id: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a request is: numbers of the phase's own unit."""

    id: int
    phase: str
    done: int = 0
    total: int | None = None
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A range of a blob's raw bytes, by itself decodable."""

    id: int
    offset: int
    raw_length: int
    codec: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Result:
    """The request's answer; its last message."""

    id: int
    shape: Shape


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no answer; the request's last message."""

    id: int
    code: str
    message: str
    hint: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, request: int, error: CommandError) -> Failure:
        """The failure that carries an error to the client."""
        return cls(request, error.code, error.message, error.hint, error.detail)

    def to_error(self) -> CommandError:
        """The error that a client raises for it."""
        return CommandError(
            self.code, self.message, hint=self.hint, detail=dict(self.detail)
        )


Message = Request | Cancel | Progress | Chunk | Result | Failure
MessageType = type[Message]


def _unsigned(bits: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and 0 <= value < 1 << bits


def _text(longest: int, shortest: int = 0) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and shortest <= len(value) <= longest


def _or_nil(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


def _is_map(value: Any) -> bool:
    return isinstance(value, dict)


def _is_told(value: Any) -> bool:
    """Whether a value is a short map of short texts."""
    word, text = _text(MAX_WORD, 1), _text(MAX_TOLD_TEXT)
    return (
        isinstance(value, dict)
        and len(value) <= MAX_TOLD
        and all(word(name) and text(said) for name, said in value.items())
    )


def _is_binary(value: Any) -> bool:
    return isinstance(value, (bytes, bytearray, memoryview))


def _is_codec(value: Any) -> bool:
    return type(value) is int and value in (CODEC_STORED, CODEC_ZSTD)


def _is_raw_length(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_RAW_RANGE


_REQUIRED = object()


@dataclass(frozen=True, slots=True)
class FieldRule:
    """A field of a message: what it must be, in words and as a check."""

    name: str
    what: str
    holds: Callable[[Any], bool]
    default: Callable[[], Any] | None = None
    left_out_if_empty: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of message: its word, who sends it, and its fields."""

    word: str
    sender: Role
    fields: tuple[FieldRule, ...]


_ID = FieldRule("id", "a u32", _unsigned(32))
_DETAIL = FieldRule("detail", "a map", _is_map, dict)

KINDS: dict[MessageType, Kind] = {
    Request: Kind(
        "request",
        Role.CLIENT,
        (
            _ID,
            FieldRule("command", "text of 1 to 64 characters", _text(MAX_WORD, 1)),
            FieldRule("args", "a map", _is_map, dict),
            FieldRule("told", "at most 8 short texts by name", _is_told, dict, True),
        ),
    ),
    Cancel: Kind("cancel", Role.CLIENT, (_ID,)),
    Progress: Kind(
        "progress",
        Role.AGENT,
        (
            _ID,
            FieldRule("phase", "text of 1 to 64 characters", _text(MAX_WORD, 1)),
            FieldRule("done", "a u64", _unsigned(64), int),
            FieldRule("total", "a u64 or nil", _or_nil(_unsigned(64)), lambda: None),
            _DETAIL,
        ),
    ),
    Chunk: Kind(
        "chunk",
        Role.AGENT,
        (
            _ID,
            FieldRule("offset", "a u64", _unsigned(64)),
            FieldRule("raw_length", "at most 4 MiB", _is_raw_length),
            FieldRule("codec", "0 or 1", _is_codec),
            FieldRule("data", "binary", _is_binary),
        ),
    ),
    Result: Kind("result", Role.AGENT, (_ID,)),
    Failure: Kind(
        "failure",
        Role.AGENT,
        (
            _ID,
            FieldRule("code", "text of 1 to 64 characters", _text(MAX_WORD, 1)),
            FieldRule("message", "text", _text(1 << 16)),
            FieldRule("hint", "text or nil", _or_nil(_text(1 << 16)), lambda: None),
            _DETAIL,
        ),
    ),
}

_CLASSES: dict[str, MessageType] = {kind.word: cls for cls, kind in KINDS.items()}


def read(wire: Mapping[str, Any]) -> Message:
    """The message in a frame's map; RemoteProtocolError if there is none."""
    word = wire.get("kind")
    cls = _CLASSES.get(word) if isinstance(word, str) else None
    if cls is None:
        raise RemoteProtocolError(f"a message of unknown kind {word!r:.60}")
    fields = _checked(KINDS[cls], wire, RemoteProtocolError)
    if cls is Result:
        fields["shape"] = shape_from_wire(wire)
    message: Message = cls(**fields)
    return message


def write(message: Message) -> dict[str, Any]:
    """The map for a message's frame; LocalProtocolError if it breaks a rule."""
    kind = KINDS.get(type(message))
    if kind is None:
        raise LocalProtocolError(f"not a message: {type(message).__name__}")
    own = {
        rule.name: value
        for rule in kind.fields
        if (value := getattr(message, rule.name)) or not rule.left_out_if_empty
    }
    checked = _checked(kind, own, LocalProtocolError)
    wire = {"kind": kind.word, **{name: checked[name] for name in own}}
    if isinstance(message, Result):
        wire.update(check_before_sending(message.shape))
    if isinstance(message, Failure) and message.code not in FAILURE_CODES:
        raise LocalProtocolError(f"no failure code {message.code!r}")
    return wire


def _checked(
    kind: Kind, wire: Mapping[str, Any], culprit: type[ProtocolError]
) -> dict[str, Any]:
    fields = {}
    for rule in kind.fields:
        value = wire.get(rule.name, _REQUIRED)
        if value is _REQUIRED:
            if rule.default is None:
                raise culprit(f"a {kind.word} without `{rule.name}`")
            value = rule.default()
        elif not rule.holds(value):
            raise culprit(
                f"`{rule.name}` of a {kind.word} is {rule.what}, not {_shown(value)}"
            )
        fields[rule.name] = value
    if kind.word == "chunk" and fields["codec"] == CODEC_STORED:
        _check_stored(fields, culprit)
    return fields


def _check_stored(fields: Mapping[str, Any], culprit: type[ProtocolError]) -> None:
    if len(fields["data"]) != fields["raw_length"]:
        raise culprit("a stored chunk's `raw_length` is the length of its `data`")


def _shown(value: Any) -> str:
    """A value's type and, for small ones, itself; never a long repr."""
    name = type(value).__name__
    return f"{name} {value}" if type(value) in (bool, int, float) else name
