"""A Unix socket of this machine: an agent's own, or one that somebody forwarded.

While the queue of a listener is full, a connect waits in the kernel only on a socket
without timeout; with one it fails at once, EAGAIN. An agent beside busy code is slow to
accept, so that is no answer: we ask again until our timeout.
"""

import os
import socket
import stat
from time import monotonic, sleep

from liveheap_client.errors import ConnectError, TimedOut
from liveheap_client.transport.sockets import SocketTransport

FIRST_REST_S = 0.002
LONGEST_REST_S = 0.1


def connect(path: str, *, timeout: float, peer: str | None = None) -> SocketTransport:
    """Connect to the socket at `path`, which must be ours or root's."""
    peer = peer or f"unix:{path}"
    check(path, peer)
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connected.settimeout(timeout)
    try:
        _connect(connected, path, timeout)
    except TimeoutError as exc:
        connected.close()
        raise TimedOut(
            f"{peer} does not accept a connection within {timeout:g} s",
            hint=f"its queue of connections is full: {see_why(peer)}",
        ) from exc
    except ConnectionRefusedError as exc:
        connected.close()
        raise ConnectError(
            f"nobody listens at {peer} any more: it ended, or its agent was stopped",
            hint=see_why(peer),
        ) from exc
    except OSError as exc:
        connected.close()
        raise ConnectError(
            f"cannot connect to {peer}: {exc.strerror or exc}",
            hint=see_why(peer),
        ) from exc
    return SocketTransport(connected, peer=peer)


def _connect(connected: socket.socket, path: str, timeout: float) -> None:
    deadline, rest_s = monotonic() + timeout, FIRST_REST_S
    while True:
        try:
            return connected.connect(path)
        except BlockingIOError:
            left = deadline - monotonic()
            if left <= 0:
                raise TimeoutError from None
            sleep(min(rest_s, left))
            rest_s = min(2 * rest_s, LONGEST_REST_S)


def see_why(peer: str) -> str:
    """Return what to type to learn why nobody answers."""
    return f"liveheap doctor {peer.removeprefix('worker ')} says what is in the way"


def check(path: str, peer: str) -> None:
    """Raise ConnectError unless a socket of ours, or of root's, is at `path`."""
    try:
        found = os.stat(path)
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise ConnectError(
            f"cannot connect to {peer}: {reason}",
            hint=see_why(peer),
        ) from exc
    if not stat.S_ISSOCK(found.st_mode):
        raise ConnectError(f"{peer} is not a socket")
    if found.st_uid not in (os.geteuid(), 0) and os.geteuid() != 0:
        raise ConnectError(
            f"{peer} belongs to another user (uid {found.st_uid})",
            hint="ask as that user: sudo -u USER liveheap ...",
        )
