"""Root reaches another user's agent as that user.

That user owns the directory in which the socket and the token lie, and may put there
whatever he likes: links to files of root's, pipes that nobody writes to, the socket of
some other service. So root opens nothing there. A fork of the client becomes that user,
connects and reads the token, hands both over and ends; what the kernel would refuse to
the user, it refuses to the fork. What root gets is a connected socket, and the proof
and everything after it is as with any stranger.

Only a container's root directory (`/proc/PID/root`) may be shut for its own user as
seen from here. Root then walks to the folder, following no link, and the fork enters it
by its descriptor.

The fork shares nothing else that could be used against root: since its uid changed, the
kernel lets nobody trace it or look into its /proc. It is waited for no longer than one
waits for a connection.
"""

import json
import os
import pwd
import select
import signal
import socket
import stat
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from liveheap import registry, tokens
from liveheap.errors import AuthenticationError, LiveheapError
from liveheap.protocol.keys import TOKEN_BYTES
from liveheap_client import inside
from liveheap_client.errors import ConnectError, TimedOut
from liveheap_client.transport import unix
from liveheap_client.transport.sockets import SocketTransport

_PROC_ROOT = ("/", "proc")
_LONGEST_WORDS = 8192
_DOOR, _ERROR = b"D", b"E"
_KINDS: dict[str, type[LiveheapError]] = {
    "connect": ConnectError,
    "slow": TimedOut,
    "token": AuthenticationError,
}


def is_needed(uid: int | None) -> bool:
    """Whether we are root, and what belongs to that user is not root's."""
    return os.geteuid() == 0 and uid not in (None, 0)


def owner_of(path: str) -> int | None:
    """Return whose a socket is; None if there is none."""
    try:
        return os.lstat(path).st_uid
    except OSError:
        return None


def knock(
    uid: int, path: Path, *, timeout_s: float, peer: str
) -> tuple[SocketTransport, bytes | None]:
    """Connect to a socket as its owner; return that and the owner's token.

    No token: the owner has none that is fit. Raises ConnectError or TimedOut.
    """
    with ExitStack() as held:
        place = _reachable(path, uid, held)
        connected, token = _as_user(
            uid, lambda: _look(place, timeout_s, peer), timeout_s, peer
        )
    return SocketTransport(connected, peer=peer), token


def _reachable(path: Path, uid: int, held: ExitStack) -> Path:
    """Return a path that the user can take: a container's through a descriptor."""
    if path.parts[:2] != _PROC_ROOT:
        return path
    root, rest = Path(*path.parts[:4]), Path("/", *path.parts[4:])
    try:
        folder = held.enter_context(inside.walked(str(root), str(rest.parent)))
    except OSError as exc:
        raise ConnectError(
            f"cannot enter {path.parent}: {exc.strerror}", hint="liveheap ps"
        ) from exc
    status = os.fstat(folder)
    if status.st_uid != uid or stat.S_IMODE(status.st_mode) & 0o077:
        raise ConnectError(
            f"{path.parent} is not a directory of uid {uid} alone", hint="liveheap ps"
        )
    return Path(f"/proc/self/fd/{folder}", path.name)


def _look(place: Path, timeout_s: float, peer: str) -> tuple[socket.socket, bytes]:
    """Connect and read the token; this runs as the user."""
    with registry.socket_path(place) as short:
        transport = unix.connect(short, timeout=timeout_s, peer=peer)
    token = b""
    with suppress(AuthenticationError):
        token = tokens.find_token(_home(), place.parent)
    return transport.detach(), token


def _home() -> dict[str, str]:
    try:
        return {"HOME": pwd.getpwuid(os.geteuid()).pw_dir}
    except KeyError:
        return {}


def _as_user(
    uid: int,
    look: Callable[[], tuple[socket.socket, bytes]],
    timeout_s: float,
    peer: str,
) -> tuple[socket.socket, bytes | None]:
    """Have a fork look as that user."""
    near, far = socket.socketpair()
    with near, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a bar's thread may run
        child = os.fork()
        if child == 0:
            _become_and_tell(uid, look, near, far)
        far.close()
        try:
            return _told(near, timeout_s + 1.0, peer)
        finally:
            _end(child)


def _become_and_tell(
    uid: int,
    look: Callable[[], tuple[socket.socket, bytes]],
    near: socket.socket,
    far: socket.socket,
) -> None:
    """The fork's life: become the user, look, tell, end."""
    try:
        near.close()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        become(uid)
        try:
            found, token = look()
            socket.send_fds(far, [_DOOR + token], [found.fileno()])
        except LiveheapError as error:
            far.sendall(_ERROR + _words(error))
        os._exit(0)
    finally:
        os._exit(1)


def become(uid: int) -> None:
    """Give up everything of root's, for good."""
    try:
        gid = pwd.getpwuid(uid).pw_gid
    except KeyError:
        gid = uid
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def _words(error: LiveheapError) -> bytes:
    kind = next((word for word, each in _KINDS.items() if type(error) is each), "")
    said = {"kind": kind or "connect", "message": str(error), "hint": error.hint}
    return json.dumps(said).encode()[:_LONGEST_WORDS]


def _told(
    near: socket.socket, timeout_s: float, peer: str
) -> tuple[socket.socket, bytes | None]:
    """Take what the fork hands over, and believe no more of it than its form."""
    if not select.select([near], [], [], timeout_s)[0]:
        raise TimedOut(f"{peer}: its user's files do not answer")
    data, descriptors, _, _ = socket.recv_fds(near, _LONGEST_WORDS + 1, 1)
    if data[:1] == _ERROR:
        said = json.loads(data[1:])
        kind = _KINDS[said["kind"]]
        raise kind(said["message"], hint=said["hint"])
    if data[:1] != _DOOR or len(descriptors) != 1:
        for descriptor in descriptors:
            os.close(descriptor)
        raise ConnectError(f"{peer} cannot be reached as its user", hint="liveheap ps")
    connected = socket.socket(fileno=descriptors[0])
    token = data[1:]
    return connected, token if len(token) == TOKEN_BYTES else None


def _end(child: int) -> None:
    """Reap the fork, which is done or not wanted any more."""
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    until = time.monotonic() + 5.0
    with suppress(ChildProcessError):
        while os.waitpid(child, os.WNOHANG)[0] == 0 and time.monotonic() < until:
            time.sleep(0.001)
