"""A key that was handed out, as text: what `liveheap token --scope` writes.

    # Opens agents of alice@web-3. Whoever can read this can, too: keep its mode 0600.
    liveheap-key: 1
    scope: graph
    expires: 1795331220 (2026-11-22 07:07:00 UTC)
    secret: 64 hexadecimal digits

The number behind `expires` is seconds since 1970, 0 for never, and counts; what stands
in brackets is for people. Lines that begin with `#` and names that are not known are
passed over. Text, because it goes through mail, tickets and editors, and because a
token (32 raw bytes, no text) can then never be taken for a key, nor a key for a token.
No error says what the secret is.
"""

from __future__ import annotations

import time

from liveheap.errors import AuthenticationError
from liveheap.protocol.keys import TOKEN_BYTES, Key, Scope

FORMAT = "1"
LONGEST = 4096
_LAST_EXPIRY = 2**32 - 1


def write(key: Key, *, remark: str) -> str:
    """Return the text of a key; the remark says in words what it opens."""
    until = "never" if not key.expiry else _date(key.expiry)
    return (
        f"# {' '.join(remark.split())}\n"
        f"liveheap-key: {FORMAT}\n"
        f"scope: {key.scope.label}\n"
        f"expires: {key.expiry} ({until})\n"
        f"secret: {key.secret.hex()}\n"
    )


def read(data: bytes, name: str) -> Key:
    """Return the key that a file holds.

    Raises:
        AuthenticationError: it holds none; `name` is what the file is called.
    """
    fields = _fields(data)
    try:
        if fields["liveheap-key"] != FORMAT:
            raise ValueError(f"this is a key of format {fields['liveheap-key']!r:.20}")
        scope = Scope[fields["scope"].upper()]
        expiry = int(fields["expires"].split()[0])
        secret = bytes.fromhex(fields["secret"])
    except KeyError as exc:
        raise _unfit(name, f"it has no usable {exc.args[0]!r:.40}") from None
    except (ValueError, IndexError):
        raise _unfit(name, "a field of it cannot be read") from None
    if len(secret) != TOKEN_BYTES or not 0 <= expiry <= _LAST_EXPIRY:
        raise _unfit(name, "a field of it has another size")
    return Key(scope, secret, expiry)


def _fields(data: bytes) -> dict[str, str]:
    text = data[:LONGEST].decode("utf-8", "replace")
    pairs = (
        line.partition(":") for line in text.splitlines() if not line.startswith("#")
    )
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}


def _unfit(name: str, why: str) -> AuthenticationError:
    return AuthenticationError(
        f"{name} holds neither a token ({TOKEN_BYTES} bytes) nor a key: {why}",
        hint="ask for a new one: liveheap token --scope SCOPE -o FILE",
        code="token",
    )


def _date(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
