"""What can go wrong on the client's side, and the exit code of every error.

Foreign exceptions become one of these at the edge that met them. `__main__` alone
prints errors and ends the process; the table at the end is its only knowledge.
"""

from liveheap.errors import (
    AuthenticationError,
    CommandError,
    LiveheapError,
    SnapshotError,
)


class ClientError(LiveheapError):
    """The client could not do what it was asked."""


class UsageError(ClientError):
    """The command line asks for something that cannot be."""


class TransportError(ClientError):
    """The stream to the agent could not be had, or was lost."""


class ConnectError(TransportError):
    """Nobody to talk to: no process, no agent, no socket, no port."""


class SSHError(TransportError):
    """ssh, or the command behind `--via`, failed."""


class Unexplained(SSHError):
    """What ssh goes through to the host ended, and ssh kept the reason to itself."""


class HostRefused(SSHError):
    """No matter of the link: ssh refuses the host, or the host refuses us."""


class NoLiveheap(HostRefused):
    """There is no `liveheap` to be run where a bridge was to be started."""


class ConnectionLost(TransportError):
    """The stream ended in the middle of a session."""


class WorkerGone(TransportError):
    """The process that answered before has ended; another may be in its place."""


class TimedOut(TransportError):
    """The other side did not answer in time."""


class InjectError(ClientError):
    """No agent could be brought into a running worker; its message says why."""


class ReaderLeft(Exception):
    """Nobody reads our stdout any more (`| head`): no error, only the end."""


OK = 0
FAILED = 1
INTERRUPTED = 130
BROKEN_PIPE = 141
_CANNOT_CONNECT = 3

_EXIT_CODES: tuple[tuple[type[LiveheapError], int], ...] = (
    (UsageError, 2),
    (TransportError, _CANNOT_CONNECT),
    (InjectError, _CANNOT_CONNECT),
    (AuthenticationError, 4),
    (CommandError, 5),
    (SnapshotError, 6),
)


# The handshake failed before anybody was refused: no common version, nobody of ours.
_NO_SESSION = frozenset({"version", "busy", "closed", "not-liveheap"})


def exit_code(error: LiveheapError) -> int:
    """Return the exit code of an error, as the manual promises it."""
    if isinstance(error, AuthenticationError) and error.code in _NO_SESSION:
        return _CANNOT_CONNECT
    for kind, code in _EXIT_CODES:
        if isinstance(error, kind):
            return code
    return FAILED
