"""Scopes and their keys: a one-way chain from the user's token.

Whoever holds the key of a scope can derive those below it and none above, so a key of
a low scope may be handed out without giving away the rest. An expiry is hashed in
last: the agent needs no list of what it gave out.

Why not hmac and hashlib: they load OpenSSL, 4 MB of the worker's memory. The
interpreter's own SHA-256 and ten lines of HMAC cost a sixteenth of that.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from liveheap.errors import AuthenticationError, LocalProtocolError

TOKEN_BYTES = 32
SALT = b"liveheap/1"


class Scope(IntEnum):
    """What a session may ask for; each scope includes those below it."""

    READ = 1
    GRAPH = 2
    VALUES = 3
    EXEC = 4

    @property
    def label(self) -> str:
        """The scope's word, as PROTOCOL.md and the command line write it."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Key:
    """A key that was handed out instead of the token.

    An expiring key fits exactly its scope and its expiry; a lasting one also gives
    the scopes below.
    """

    scope: Scope
    secret: bytes = field(repr=False)
    expiry: int = 0


def _sha256_of_the_interpreter() -> Callable[[bytes], Any]:
    for name in ("_sha2", "_sha256", "hashlib"):
        try:
            module: Any = __import__(name)
        except ImportError:
            continue
        found: Callable[[bytes], Any] = module.sha256
        return found
    raise ImportError("no SHA-256 in this interpreter")


_sha256 = _sha256_of_the_interpreter()
_HASH_BLOCK = 64
_INNER_PAD = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD = bytes(byte ^ 0x5C for byte in range(256))


def hmac_sha256(key: bytes, *parts: bytes) -> bytes:
    """HMAC (RFC 2104) with SHA-256 over the parts joined."""
    if len(key) > _HASH_BLOCK:
        key = _sha256(key).digest()
    key = key.ljust(_HASH_BLOCK, b"\0")
    inner = _sha256(key.translate(_INNER_PAD))
    for part in parts:
        inner.update(part)
    outer = _sha256(key.translate(_OUTER_PAD))
    outer.update(inner.digest())
    digest: bytes = outer.digest()
    return digest


def hkdf(key: bytes, info: bytes) -> bytes:
    """HKDF (RFC 5869) with our salt and one block of output."""
    return hmac_sha256(hmac_sha256(SALT, key), info, b"\x01")


def scope_key(token: bytes, scope: Scope, expiry: int = 0) -> bytes:
    """The key of a scope, for good or until an expiry."""
    if len(token) != TOKEN_BYTES:
        raise LocalProtocolError(f"a token has {TOKEN_BYTES} bytes, not {len(token)}")
    return _derive(hkdf(token, b"exec"), Scope.EXEC, scope, expiry)


def _derive(key: bytes, held: Scope, scope: Scope, expiry: int) -> bytes:
    for lower in range(held - 1, scope - 1, -1):
        key = hkdf(key, Scope(lower).label.encode())
    return hkdf(key, b"until" + struct.pack("<I", expiry)) if expiry else key


def client_key(secret: bytes | Key, scope: Scope, expiry: int) -> bytes:
    """The key that a client proves its scope with, from what it was given."""
    if not isinstance(secret, Key):
        return scope_key(secret, scope, expiry)
    if scope > secret.scope or (secret.expiry and scope != secret.scope):
        raise AuthenticationError(
            f"this key is for scope {secret.scope.label}, not {scope.label}",
            hint=f"ask for one: liveheap token --scope {scope.label} --ttl 1h",
            code="scope",
        )
    if secret.expiry:
        return secret.secret
    return _derive(secret.secret, secret.scope, scope, expiry)
