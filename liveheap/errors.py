"""Every exception that both wings see.

One tree, so that a caller may catch as widely as it likes. A message says what was
expected, what came, and where; a hint, if there is one, is what to try next, as a
command line where possible. Secrets never stand in either.

Protocol errors are sorted by culprit, as in h11: a LocalProtocolError is a bug of
ours, a RemoteProtocolError is the peer's doing. Their parent cannot be raised,
because an error without a culprit helps nobody.
"""

from __future__ import annotations

from typing import Any


class LiveheapError(Exception):
    """Anything liveheap raises on purpose."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class ProtocolError(LiveheapError):
    """The rules of the wire were broken; catch this, raise one of its children."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        if type(self) is ProtocolError:
            raise TypeError("a protocol error has a culprit: Local- or Remote-")
        super().__init__(message, hint=hint)


class LocalProtocolError(ProtocolError):
    """We tried to break the rules; nothing was sent."""


class MessageTooLarge(LocalProtocolError):
    """The message is well formed but does not fit the limits of its direction."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the rules; the session cannot go on."""


class AuthenticationError(LiveheapError):
    """The handshake did not succeed.

    The code is a word for programs (the bridge's greeting, tests): closed,
    not-liveheap, malformed, version, scope, key, busy, expired, not-genuine,
    wrong-worker, refused, or token.
    """

    def __init__(
        self, message: str, *, hint: str | None = None, code: str = "refused"
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code


class CommandError(LiveheapError):
    """An expected "no" of the agent; travels as a Failure with this code."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        hint: str | None = None,
        detail: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.args = (code, message)
        self.code = code
        self.detail = {} if detail is None else detail


class SnapshotError(LiveheapError):
    """A snapshot file cannot be used."""


class UnsupportedVersion(SnapshotError):
    """The file is of a version that this reader does not know."""


class TruncatedSnapshot(SnapshotError):
    """The file ends before its trailer."""


class CorruptSnapshot(SnapshotError):
    """The file contradicts itself or its checksum."""


class EngineError(LiveheapError):
    """The C engine does not fit this interpreter, or refused to work in it."""
