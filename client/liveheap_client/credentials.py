"""What this client proves itself with: the user's token, or a key that was handed out.

`LIVEHEAP_TOKEN_FILE` may name either: a token is 32 raw bytes, a key is text. Whoever
holds a key of his own shakes hands himself, also through ssh: the bridge over there
then finds the worker and passes bytes on, and its user's token opens nothing for us. A
key is for every target, since nobody can know from outside which one it fits.
"""

import time
from collections.abc import Mapping
from pathlib import Path

from liveheap import tokens
from liveheap.errors import AuthenticationError
from liveheap.protocol import keyfile
from liveheap.protocol.auth import Key, Scope
from liveheap.protocol.keys import TOKEN_BYTES
from liveheap_client.quantities import human_seconds

Secret = bytes | Key


def find(environ: Mapping[str, str], run_dir: Path | None = None) -> Secret:
    """Return the key that was handed out, else the token.

    Raises AuthenticationError if there is none, or it cannot be used.
    """
    return handed_out(environ) or tokens.find_token(environ, run_dir)


def chosen(environ: Mapping[str, str]) -> Secret | None:
    """Return what LIVEHEAP_TOKEN_FILE holds; None if it is not set."""
    name = environ.get(tokens.CHOSEN)
    if not name:
        return None
    return handed_out(environ) or tokens.find_token({tokens.CHOSEN: name})


def handed_out(environ: Mapping[str, str]) -> Key | None:
    """Return the key in LIVEHEAP_TOKEN_FILE; None if that is a token, or not set.

    Raises AuthenticationError if the file is unfit or the key's time is over.
    """
    name = environ.get(tokens.CHOSEN)
    if not name:
        return None
    data = tokens.read_private(Path(name), keyfile.LONGEST)
    if len(data) == TOKEN_BYTES:
        return None
    key = keyfile.read(data, f"{tokens.CHOSEN}={name}")
    late_s = time.time() - key.expiry
    if key.expiry and late_s >= 0:
        raise AuthenticationError(
            f"the key in {name} expired {human_seconds(late_s)} ago",
            hint=f"ask for one: liveheap token --scope {key.scope.label} --ttl 1h",
            code="expired",
        )
    return key


def fitting(secret: Secret, scope: Scope) -> Scope:
    """Return the scope to ask for: a key that expires opens its own and no other."""
    if isinstance(secret, Key) and secret.expiry and scope <= secret.scope:
        return secret.scope
    return scope
