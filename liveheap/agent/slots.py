"""At most so many heavy operations at once among the workers of one run directory.

Each takes a lock on a byte of `heavy.lock` there, a record lock (lockf): the kernel
gives it back when the process ends, however it ends; a forked child has none of it; and
the raw clone that walks a heap neither keeps it nor loses it.

Of one run directory means: of one user, in one container. A place where all users of a
machine could meet would be one where any of them could keep the lock, and so deny
everybody else an answer; what users have in common, memory and processors, is guarded
by admission and by the children's priority instead.

Whoever cannot ask (a directory that is gone, a file system without locks) is not
refused: this bounds a machine's load, and no harm to the worker hangs on it.
"""

from __future__ import annotations

import os

NAME = "heavy.lock"
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Slots:
    """The slots of a run directory, of which this process takes one at most."""

    def __init__(self, number: int) -> None:
        self.directory: str | None = None
        self._number = number
        self._fd = -1
        self._file: tuple[int, int] | None = None

    def take(self) -> bool:
        """Take a slot; False if others have them all."""
        if self.directory is None:
            return True
        try:
            self._fd = os.open(os.path.join(self.directory, NAME), _FLAGS, 0o600)
            self._file = _file(self._fd)
            if self._lock():
                return True
        except OSError:
            return True
        self.give()
        return False

    def _lock(self) -> bool:
        for slot in range(self._number):
            os.lseek(self._fd, slot, os.SEEK_SET)
            try:
                os.lockf(self._fd, os.F_TLOCK, 1)
            except (BlockingIOError, PermissionError):
                continue
            return True
        return False

    def give(self) -> None:
        """Give it back. The worker may have closed it, and opened a file of its own."""
        fd, self._fd = self._fd, -1
        if fd >= 0 and _file(fd) == self._file:
            os.close(fd)


def _file(fd: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(fd)
    except OSError:
        return None
    return found.st_dev, found.st_ino
