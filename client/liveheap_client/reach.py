"""From a socket of this machine to a proven agent: connect, shake hands.

Two steps, since they may happen in two places. `knock` leads to somebody who has proved
nothing yet; `enter` shakes hands and gives a link: a socket at the first byte of
frames, and what both sides agreed on. The bridge does both on the worker's machine, the
session does for local targets; who holds a key of his own lets a bridge knock, and
enters himself. Standard library only.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

from liveheap import registry
from liveheap.protocol.auth import VERSION, Agreed, ClientHandshake, Scope
from liveheap_client import credentials, otheruser
from liveheap_client import patience as waiting
from liveheap_client.credentials import Secret
from liveheap_client.errors import ConnectionLost, TimedOut
from liveheap_client.patience import Patience
from liveheap_client.transport import tcp, unix
from liveheap_client.transport.base import Transport
from liveheap_client.transport.sockets import SocketTransport
from liveheap_client.workers import Worker

RESTS_S = (0.02, 0.1, 0.3, 0.5)


@dataclass(frozen=True, slots=True)
class LocalLink:
    """A socket to a proven agent. `trailing`: bytes of frames already received."""

    transport: SocketTransport
    agreed: Agreed
    trailing: bytes = b""


@dataclass(frozen=True, slots=True)
class Reach:
    """What every way to an agent needs to know."""

    environ: Mapping[str, str]
    scope: Scope
    connect_timeout_s: float = 15.0
    patience: Patience = field(default_factory=Patience)
    max_version: int = VERSION


@dataclass(frozen=True, slots=True)
class Expected:
    """Who shall answer; None: whoever holds our token. `pid` is the worker's own."""

    pid: int | None = None
    start_time: int | None = None


@dataclass(frozen=True, slots=True)
class Door:
    """A socket to somebody who has proved nothing yet."""

    transport: SocketTransport
    expected: Expected
    run_dir: Path | None = None
    pid: int | None = None
    token: bytes | None = field(default=None, repr=False)
    """That of another user, whom root went as."""


def worker(found: Worker, reach: Reach) -> LocalLink:
    """Reach a worker of the registry; its pid and start time are checked."""
    return in_the_end(lambda: knock(found, reach), reach)


def path(name: str, reach: Reach) -> LocalLink:
    """Reach whoever listens on a socket's path and holds our token."""
    return in_the_end(lambda: knock_at(name, reach), reach)


def port(host: str, number: int, reach: Reach) -> LocalLink:
    """Reach whoever listens on a loopback port and holds our token."""
    return in_the_end(lambda: knock_at_port(host, number, reach), reach)


def in_the_end(knock: Callable[[], Door], reach: Reach) -> LocalLink:
    """Reach whoever is behind a door; knock again if we were shown out unheard.

    That is what an agent does while many strangers press in. An agent that has ended
    has no door any more.
    """
    for rest_s in RESTS_S:
        try:
            return enter(knock(), reach)
        except ConnectionLost:
            sleep(rest_s)
    return enter(knock(), reach)


def knock(found: Worker, reach: Reach) -> Door:
    """Connect to a worker of the registry."""
    entry, peer = found.entry, f"worker {found.pid}"
    expected = Expected(entry.inner_pid or entry.pid, entry.start_time)
    owner = found.fact("uid")
    if otheruser.is_needed(owner):
        other, token = otheruser.knock(
            owner, entry.socket, timeout_s=reach.connect_timeout_s, peer=peer
        )
        return Door(other, expected, None, entry.pid, token)
    with registry.connect_path(entry) as name:
        transport = unix.connect(name, timeout=reach.connect_timeout_s, peer=peer)
    return Door(transport, expected, entry.socket.parent, entry.pid)


def knock_at(name: str, reach: Reach) -> Door:
    """Connect to a socket's path."""
    peer = f"unix:{name}"
    owner = otheruser.owner_of(name)
    if owner is not None and otheruser.is_needed(owner):
        other, token = otheruser.knock(
            owner, Path(name), timeout_s=reach.connect_timeout_s, peer=peer
        )
        return Door(other, Expected(), token=token)
    unix.check(name, peer)
    with registry.socket_path(Path(name)) as short:
        transport = unix.connect(short, timeout=reach.connect_timeout_s, peer=peer)
    return Door(transport, Expected(), Path(name).parent)


def knock_at_port(host: str, number: int, reach: Reach) -> Door:
    """Connect to a loopback port."""
    transport = tcp.connect(host, number, timeout=reach.connect_timeout_s)
    return Door(transport, Expected())


def enter(door: Door, reach: Reach) -> LocalLink:
    """Shake hands with whoever is behind a door."""
    try:
        secret = credentials.chosen(reach.environ) or door.token
        if secret is None:
            secret = credentials.find(reach.environ, door.run_dir)
        agreed, trailing = shake_hands(
            door.transport, secret, door.expected, reach, pid=door.pid
        )
    except BaseException:
        door.transport.close()
        raise
    return LocalLink(door.transport, agreed, trailing)


def shake_hands(
    transport: Transport,
    secret: Secret,
    expected: Expected,
    reach: Reach,
    *,
    pid: int | None = None,
    received: bytes = b"",
) -> tuple[Agreed, bytes]:
    """Prove who is who over a stream; return what was agreed, and what came after.

    `received`: what the other side has sent already. `pid`: the worker's, here.

    Whoever answers is a stranger still: each of his answers has the patience's time as
    a whole, and not for every byte of it.
    """
    handshake = ClientHandshake(
        secret,
        credentials.fitting(secret, reach.scope),
        expect_pid=expected.pid,
        expect_start=expected.start_time,
        max_version=reach.max_version,
    )
    whole_by = monotonic() + reach.patience.timeout_s
    while True:
        data = handshake.data_to_send()
        if data:
            transport.send(data)
            whole_by = monotonic() + reach.patience.timeout_s
        if handshake.done:
            return handshake.result, bytes(handshake.trailing)
        if monotonic() > whole_by:
            raise TimedOut(
                "who answers does not come to the end of it "
                f"(waited {reach.patience.timeout_s:g} s)",
                hint="is that an agent? liveheap ps lists those that are here",
            )
        if not received:
            received = waiting.receive(transport, reach.patience, pid=pid)
        if not received:
            raise transport.why_ended()
        handshake.receive(received)
        received = b""
