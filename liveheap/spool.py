"""The spool: a file without a name, into which a walk's records are written.

It lies on a disk if one can be had, never in a memfd: that would be memory, taken from
a worker that may have little. The file has no name from the start (O_TMPFILE) or loses
it at once, so that nothing is left behind whatever kills the worker, and its mode lets
nobody else in: a heap graph names the program's attributes.
"""

import os
from collections.abc import Mapping, Sequence

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
        self.directory = directory
        self._fd = _open_unnamed(directory)

    @property
    def fd(self) -> int:
        """The descriptor; -1 once closed."""
        return self._fd

    def size(self) -> int:
        """Bytes written so far."""
        return os.fstat(self._fd).st_size if self._fd >= 0 else 0

    def read(self, offset: int, length: int) -> bytes:
        """Read up to `length` bytes; fewer only where the file ends."""
        pieces = []
        while length > 0:
            piece = os.pread(self._fd, length, offset)
            if not piece:
                break
            pieces.append(piece)
            offset += len(piece)
            length -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def empty(self) -> None:
        """Forget what was written, for another attempt."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)

    def close(self) -> None:
        """Give the space back. May be called twice."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()


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
