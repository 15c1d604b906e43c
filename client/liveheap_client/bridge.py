"""`liveheap bridge`: runs on the worker's machine, at the far end of an ssh.

It finds the worker with this user's own permissions, reads the token here, shakes hands
and says on stdout who answers: the magic and one line of JSON. Then it relays bytes
both ways without reading them. No token leaves the machine. The end of stdin becomes a
half close towards the agent; the end of the agent's stream ends the bridge.

A raw bridge only finds the worker and connects: whoever is at the other end holds a key
of his own and shakes hands himself. Its greeting says whom it has found. So an account
that may run nothing but `liveheap bridge --raw` gives nobody more than the key he has.

A failure is told in the same line of JSON, so that the client can say it in its own
words: {"bridge": 1, "error": CODE, "message": ..., "hint": ...}. Standard library and
the protocol's first step only.
"""

import os
import select
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from liveheap.errors import AuthenticationError, LiveheapError
from liveheap.protocol.auth import Agreed
from liveheap_client import reach, workers
from liveheap_client.asker import told_of
from liveheap_client.errors import (
    ConnectError,
    TimedOut,
    UsageError,
    exit_code,
)
from liveheap_client.reach import Door, Reach
from liveheap_client.transport.relay import BRIDGE_VERSION, greet, relay

_STDIN = 0

_CODES: tuple[tuple[type[LiveheapError], str], ...] = (
    (AuthenticationError, "authentication"),
    (UsageError, "choose"),
    (TimedOut, "not-answering"),
    (ConnectError, "connect"),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which worker the other end asked for; nothing set: the only one."""

    pid: int | None = None
    name: str | None = None
    port: int | None = None
    socket: str | None = None


def serve(wanted: Wanted, how: Reach, *, raw: bool = False) -> int:
    """Greet, relay until the agent's stream ends, return the exit code."""
    try:
        if is_deaf():
            raise ConnectError(
                "the bridge's stdin is closed: nothing can be asked over it",
                hint="docker exec -i, kubectl exec -i; ssh without -n",
            )
        if raw:
            door, link = find(wanted, how), None
        else:
            link = reach.in_the_end(lambda: find(wanted, how), how)
    except LiveheapError as error:
        greet(failure(error))
        return exit_code(error)
    if link is None:
        greet(raw_greeting(door))
        relay(door.transport.detach(), b"")
    else:
        greet({**greeting(link.agreed, wanted.pid), "told": told_of(how.environ)})
        relay(link.transport.detach(), link.trailing)
    return 0


def list_workers(environ: Mapping[str, str]) -> int:
    """Greet with the list of this machine's workers."""
    from liveheap_client import roster  # noqa: PLC0415 - a session starts without it

    with roster.calling(environ) as roll:
        found = roster.local(environ, roll)
    greet({"bridge": BRIDGE_VERSION, "workers": found})
    return 0


def find(wanted: Wanted, how: Reach) -> Door:
    """Connect to the worker that is wanted."""
    if wanted.port is not None:
        return reach.knock_at_port("127.0.0.1", wanted.port, how)
    if wanted.socket is not None:
        return reach.knock_at(wanted.socket, how)
    found = workers.local(how.environ)
    if wanted.pid is not None:
        return reach.knock(workers.by_pid(found, wanted.pid), how)
    if wanted.name is not None:
        return reach.knock(workers.by_name(found, wanted.name), how)
    return reach.knock(workers.only(found), how)


def greeting(agreed: Agreed, pid: int | None = None) -> dict[str, Any]:
    """Return the line that says who answers.

    `pid`: which process was asked for and found; in a container it has another number.
    """
    return {
        **({} if pid is None else {"pid": pid}),
        "bridge": BRIDGE_VERSION,
        "ident": agreed.ident,
        "scope": int(agreed.scope),
        "version": agreed.version,
        "session": agreed.session_id.hex(),
    }


def raw_greeting(door: Door) -> dict[str, Any]:
    """Return the line that says who was found, for a handshake at the other end."""
    return {
        "bridge": BRIDGE_VERSION,
        "raw": True,
        **({} if door.pid is None else {"pid": door.pid}),
        "expect_pid": door.expected.pid,
        "expect_start": door.expected.start_time,
    }


def failure(error: LiveheapError) -> dict[str, Any]:
    """Return the line that says why there is no session."""
    code = next((code for kind, code in _CODES if isinstance(error, kind)), "failed")
    return {
        "bridge": BRIDGE_VERSION,
        "error": code,
        "code": getattr(error, "code", None),
        "message": str(error),
        "hint": error.hint,
    }


def is_deaf(stdin: int = _STDIN) -> bool:
    """Whether nothing can ever come: `docker exec` without -i gives /dev/null."""
    poll = select.poll()
    poll.register(stdin, select.POLLIN)
    events = dict(poll.poll(0)).get(stdin, 0)
    if events & select.POLLHUP and not events & select.POLLIN:
        return True
    return os.path.samestat(os.fstat(stdin), os.stat(os.devnull))
