"""A loopback TCP port of this machine. A port elsewhere is reached through ssh.

The handshake proves who is at the ends but does not protect the bytes between them,
so this transport connects to loopback addresses and to nothing else.
"""

import ipaddress
import socket

from liveheap_client.errors import ConnectError, TimedOut
from liveheap_client.transport.sockets import SocketTransport


def connect(host: str, port: int, *, timeout: float) -> SocketTransport:
    """Connect to a loopback port."""
    address = _loopback_address(host)
    peer = f"{host}:{port}"
    try:
        connected = socket.create_connection((address, port), timeout=timeout)
    except TimeoutError as exc:
        raise TimedOut(f"{peer} does not accept a connection") from exc
    except OSError as exc:
        raise ConnectError(
            f"nothing listens on {peer}: {exc.strerror or exc}",
            hint="the worker needs LIVEHEAP_TCP=127.0.0.1:PORT to listen on a port",
        ) from exc
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return SocketTransport(connected, peer=peer)


def _loopback_address(host: str) -> str:
    try:
        if ipaddress.ip_address(host).is_loopback:
            return host
    except ValueError:
        return "127.0.0.1"
    raise ConnectError(
        f"{host} is not a loopback address",
        hint="reach another machine through ssh: HOST:PORT",
    )
