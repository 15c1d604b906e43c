"""From a socket of this machine to a proven agent: connect, shake hands.

What comes out is a link: a socket at the first byte of frames, and what both sides
agreed on. The bridge does this on the worker's machine, the session does it for local
targets; neither knows which way the other went. Standard library only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from liveheap import registry, tokens
from liveheap.protocol.auth import VERSION, Agreed, ClientHandshake, Scope
from liveheap_client import patience as waiting
from liveheap_client.patience import Patience
from liveheap_client.transport import tcp, unix
from liveheap_client.transport.sockets import SocketTransport
from liveheap_client.workers import Worker


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


def worker(found: Worker, reach: Reach) -> LocalLink:
    """Reach a worker of the registry; its pid and start time are checked."""
    entry = found.entry
    token = tokens.find_token(reach.environ, entry.socket.parent)
    with registry.connect_path(entry) as name:
        transport = unix.connect(
            name, timeout=reach.connect_timeout_s, peer=f"worker {entry.pid}"
        )
    handshake = ClientHandshake(
        token,
        reach.scope,
        expect_pid=entry.inner_pid or entry.pid,
        expect_start=entry.start_time,
        max_version=reach.max_version,
    )
    return _shake(transport, handshake, reach, pid=entry.pid)


def path(name: str, reach: Reach) -> LocalLink:
    """Reach whoever listens on a socket's path and holds our token."""
    peer = f"unix:{name}"
    unix.check(name, peer)
    handshake = _anybody(reach, Path(name).parent)
    with registry.socket_path(Path(name)) as short:
        transport = unix.connect(short, timeout=reach.connect_timeout_s, peer=peer)
    return _shake(transport, handshake, reach, pid=None)


def port(host: str, number: int, reach: Reach) -> LocalLink:
    """Reach whoever listens on a loopback port and holds our token."""
    handshake = _anybody(reach, None)
    transport = tcp.connect(host, number, timeout=reach.connect_timeout_s)
    return _shake(transport, handshake, reach, pid=None)


def _anybody(reach: Reach, run_dir: Path | None) -> ClientHandshake:
    token = tokens.find_token(reach.environ, run_dir)
    return ClientHandshake(token, reach.scope, max_version=reach.max_version)


def _shake(
    transport: SocketTransport,
    handshake: ClientHandshake,
    reach: Reach,
    *,
    pid: int | None,
) -> LocalLink:
    try:
        while True:
            data = handshake.data_to_send()
            if data:
                transport.send(data)
            if handshake.done:
                break
            received = waiting.receive(transport, reach.patience, pid=pid)
            if not received:
                raise transport.why_ended()
            handshake.receive(received)
    except BaseException:
        transport.close()
        raise
    return LocalLink(transport, handshake.result, bytes(handshake.trailing))
