"""The spool: a file without a name, into which a walk's records are written.

It lies on a disk if one can be had, never in a memfd: that would be memory, taken from
a worker that may have little. The file has no name from the start (O_TMPFILE) or loses
it at once, so that nothing is left behind whatever kills the worker, and its mode lets
nobody else in: a heap graph names the program's attributes.

The worker may do to our descriptor what it likes. If it forks, its child gets a copy
that would hold the space: an after-fork hook closes it there. (Not if the fork falls
within the microseconds of our call of open, here as in any file that we read: then the
child keeps a descriptor that it does not know of until it execs or ends.) If it closes
descriptors that it did not open, as daemons do, the number may be somebody else's file
by now: so each use looks first whether it is still ours.
"""

import os
import weakref
from collections.abc import Mapping, Sequence

from liveheap import forks

DEFAULT_DIRECTORIES = ("/var/tmp", "/tmp")


def directories(
    environ: Mapping[str, str], explicit: str | None, last: str | None
) -> Sequence[str]:
    """Where a spool may be made, best first.

    A directory that somebody chose, by argument or by LIVEHEAP_SPOOL, is the only one:
    who says where the graph of a heap may lie does not want it elsewhere.
    """
    chosen = explicit or environ.get("LIVEHEAP_SPOOL")
    if chosen:
        return (chosen,)
    return (*DEFAULT_DIRECTORIES, last) if last else DEFAULT_DIRECTORIES


class Spool:
    """An open, unlinked file."""

    def __init__(self, directory: str) -> None:
        self._fd = -1
        self.directory = directory
        _close_in_forks(self)
        self._fd = _open_unnamed(directory)
        self._identity = _identity(self._fd)

    @property
    def fd(self) -> int:
        """The descriptor; -1 once closed, by us or behind our back."""
        if self._fd >= 0 and _identity(self._fd) != self._identity:
            self._fd = -1
        return self._fd

    def size(self) -> int:
        """Bytes written so far."""
        fd = self.fd
        return os.fstat(fd).st_size if fd >= 0 else 0

    def read(self, offset: int, length: int) -> bytes:
        """Read up to `length` bytes; fewer only where the file ends, or is gone."""
        fd, pieces = self.fd, []
        while length > 0 and fd >= 0:
            piece = os.pread(fd, length, offset)
            if not piece:
                break
            pieces.append(piece)
            offset += len(piece)
            length -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def empty(self) -> None:
        """Forget what was written, for another attempt."""
        fd = self.fd
        os.ftruncate(fd, 0)
        os.lseek(fd, 0, os.SEEK_SET)

    def close(self) -> None:
        """Give the space back. May be called twice."""
        fd, self._fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()


_open_spools: weakref.WeakSet[Spool] = weakref.WeakSet()


def _close_in_forks(spool: Spool) -> None:
    forks.in_child(_close_all)
    _open_spools.add(spool)


def _close_all() -> None:
    for spool in list(_open_spools):
        spool.close()


def _identity(fd: int) -> tuple[int, int, int] | None:
    """What tells our file from another; the last is 0 for ours, which has no name.

    That counts: a file system soon gives the number of a closed, nameless file's inode
    to the next file.
    """
    try:
        found = os.fstat(fd)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_nlink


def _open_unnamed(directory: str) -> int:
    flags = os.O_RDWR | os.O_CLOEXEC
    try:
        return os.open(directory, flags | os.O_TMPFILE, 0o600)
    except OSError:
        pass  # the kernel or the file system has none; an honest error comes below
    name = os.path.join(directory, f".liveheap-{os.getpid()}-{os.urandom(8).hex()}")
    fd = os.open(name, flags | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    os.unlink(name)
    return fd
