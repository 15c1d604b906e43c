"""`token`: where the user's token is, a key to hand out, a new token.

The token opens every scope of every agent of its user, so it is never shown and never
leaves its file. What may leave is a key: of one scope, until a date, made from the
token by a hash that cannot be turned round (`liveheap.protocol.keys`). Agents need not
be told of keys, so there is no list of them and no way to take a single one back:
`--rotate` takes back all, and is at once, since agents read the token at each
handshake and sessions that began with the old one end at their next request.

A key goes to stdout or to a new file of mode 0600; the secret is never read from the
command line, where every user of the machine could see it. Standard library only.
"""

import argparse
import getpass
import os
import re
import socket
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from liveheap import tokens
from liveheap.errors import AuthenticationError
from liveheap.protocol import keyfile
from liveheap.protocol.auth import Key, Scope
from liveheap.protocol.keys import client_key
from liveheap_client import credentials
from liveheap_client.arguments import Parser, parser
from liveheap_client.errors import ClientError, UsageError
from liveheap_client.quantities import human_seconds
from liveheap_client.terminal import Terminal

USUAL_TTL_S = 3600
LONGEST_TTL_S = 10 * 366 * 86400
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_TTL = re.compile(r"([0-9]{1,9})([smhd]?)", re.ASCII)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def main(words: Sequence[str], *, summary: str) -> int:
    """Do what is asked: say where the token is, hand out a key, make a new token."""
    given = _parser(summary).parse_args(words)
    if given.rotate:
        return _rotate(given)
    if given.scope is None:
        for name in ("ttl", "output"):
            if getattr(given, name) is not None:
                raise UsageError(
                    "a key needs its scope", hint="liveheap token --scope read"
                )
        return _where(given)
    return _hand_out(given)


def _parser(summary: str) -> Parser:
    reader = parser("token", summary, "liveheap token [-h] [OPTION ...]")
    what = reader.add_mutually_exclusive_group()
    what.add_argument(
        "--scope",
        choices=[scope.label for scope in Scope],
        help="print a key of this scope, to hand out",
    )
    what.add_argument(
        "--rotate",
        action="store_true",
        help="replace the token: no key that was handed out opens anything any more",
    )
    reader.add_argument(
        "--ttl",
        type=_ttl,
        metavar="TIME",
        help="how long the key lasts: 90s, 30m, 1h (as without), 7d, or `never` ends",
    )
    reader.add_argument(
        "-o",
        dest="output",
        type=Path,
        metavar="FILE",
        help="write the key into a new file, mode 0600",
    )
    reader.add_argument("--json", action="store_true", help="say it as JSON")
    return reader


def _ttl(text: str) -> int:
    """Return seconds; 0 for ever."""
    if text == "never":
        return 0
    match = _TTL.fullmatch(text)
    seconds = int(match[1]) * _UNITS[match[2] or "s"] if match else 0
    if not 0 < seconds <= LONGEST_TTL_S:
        raise argparse.ArgumentTypeError(f"not a time like 90s, 30m, 1h, 7d: {text!r}")
    return seconds


# Where the token is.


def _where(given: argparse.Namespace) -> int:
    terminal = Terminal.standard()
    rows = [_facts(path) for path in _files()]
    if given.json:
        terminal.show_json(rows)
        return 0
    terminal.show(_told(row) for row in rows)
    return 0


def _files() -> list[Path]:
    """Return the token files that there are; the error if there is none."""
    found = tokens.files(os.environ)
    if not found:
        tokens.find_token(os.environ)
    return found


def _facts(path: Path) -> dict[str, Any]:
    status = path.lstat()
    facts: dict[str, Any] = {
        "path": str(path),
        "uid": status.st_uid,
        "mode": f"{stat.S_IMODE(status.st_mode):04o}",
        "age": max(0.0, time.time() - status.st_mtime),
        "kind": "token",
        "fault": None,
    }
    try:
        key = credentials.handed_out({tokens.CHOSEN: str(path)})
        if key is not None:
            facts |= {"kind": "key", "scope": key.scope.label, "expires": key.expiry}
    except AuthenticationError as error:
        facts["fault"] = str(error)
    return facts


def _told(row: dict[str, Any]) -> str:
    age = human_seconds(row["age"])
    kind = row["kind"]
    if kind == "key":
        left = row["expires"] - time.time()
        ends = f"for {human_seconds(left)} more" if row["expires"] else "without end"
        kind = f"key of scope {row['scope']}, {ends}"
    fault = f"\n  unfit: {row['fault']}" if row["fault"] else ""
    return (
        f"{row['path']}  {kind}, uid {row['uid']}, mode {row['mode']}, {age} old{fault}"
    )


# A key to hand out.


def _hand_out(given: argparse.Namespace) -> int:
    terminal = Terminal.standard()
    ttl_s = USUAL_TTL_S if given.ttl is None else given.ttl
    key = _key(Scope[given.scope.upper()], int(time.time()) + ttl_s if ttl_s else 0)
    text = keyfile.write(key, remark=_remark())
    if given.output is not None:
        _write(given.output, text)
        terminal.say(f"its holder: LIVEHEAP_TOKEN_FILE={given.output} liveheap ...")
    elif given.json:
        terminal.show_json(
            {"scope": key.scope.label, "expires": key.expiry, "key": text}
        )
    else:
        terminal.show(text.splitlines())
    if key.scope > Scope.GRAPH:
        terminal.say(
            f"it opens only workers that have LIVEHEAP_ALLOW={key.scope.label} "
            "in their environment"
        )
    return 0


def _key(scope: Scope, expiry: int) -> Key:
    """Make a key of the token, or of a lasting key that we were handed ourselves."""
    secret = credentials.find(os.environ)
    if isinstance(secret, Key) and secret.expiry:
        raise AuthenticationError(
            "LIVEHEAP_TOKEN_FILE holds a key that expires: no other can be made of it",
            hint="pass that very file on, or ask the worker's user",
            code="scope",
        )
    return Key(scope, client_key(secret, scope, expiry), expiry)


def _remark() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid {os.geteuid()}"
    return (
        f"Opens liveheap agents of {user}@{socket.gethostname()}. Whoever can read "
        "this can, too: keep its mode 0600."
    )


def _write(path: Path, text: str) -> None:
    try:
        with open(os.open(path, _NEW, 0o600), "w", encoding="ascii") as file:
            file.write(text)
    except OSError as exc:
        raise ClientError(
            f"cannot write {path}: {exc.strerror}",
            hint="a key goes into a file that is not there yet",
        ) from exc


# A new token.


def _rotate(given: argparse.Namespace) -> int:
    if given.ttl is not None or given.output is not None:
        raise UsageError("--rotate makes no key", hint="liveheap token --help")
    if credentials.handed_out(os.environ) is not None:
        raise UsageError(
            "LIVEHEAP_TOKEN_FILE names a key, and only a token can be replaced",
            hint="unset LIVEHEAP_TOKEN_FILE",
        )
    found = _files()
    for path in found:
        tokens.rotate(path)
    terminal = Terminal.standard()
    if given.json:
        terminal.show_json([_facts(path) for path in found])
        return 0
    terminal.show(f"{path}  new token" for path in found)
    terminal.say(
        "no key that was handed out opens anything any more; sessions that began with "
        "the old token end at their next request"
    )
    return 0
