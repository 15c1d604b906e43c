"""What the script in the worker tells us, line by line, through a named pipe.

Waiting here is waiting for an event: a line, or the end of the worker. Meanwhile
nothing is known of a worker that does not answer but what /proc shows, and that is
said.
"""

import contextlib
import os
import select
import time
from collections.abc import Callable, Mapping
from types import TracebackType

from liveheap_client.inject.process import Process, refuse_if_halted

LONGEST = 1 << 16
LOOK_EVERY_S = 0.05


def _nothing() -> None:
    return


class Report:
    """The reading end of the pipe."""

    def __init__(self, fd: int, process: Process) -> None:
        self._fd = fd
        self._process = process
        self._text = b""
        self._poll = select.poll()
        self._life = _pidfd(process.pid)
        if self._life is not None:
            self._poll.register(self._life, select.POLLIN)
        self._poll.register(fd, select.POLLIN)

    @property
    def facts(self) -> Mapping[str, str]:
        """What has been told up to now."""
        lines = self._text.decode("ascii", "replace").split("\n")[:-1]
        pairs = (line.partition("\t") for line in lines)
        return {name: _plain(value) for name, _, value in pairs}

    def begin_anew(self) -> None:
        """Forget what was told: another way is tried."""
        self._read()
        self._text = b""

    def wait(
        self, name: str, timeout_s: float, meanwhile: Callable[[], None] = _nothing
    ) -> bool:
        """Wait until `name` was told; False if it was not in time.

        `meanwhile` is called now and then; what it raises ends the wait.

        Raises:
            InjectError: the worker has ended or stands still.
        """
        deadline = time.monotonic() + timeout_s
        while name not in self.facts:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._poll.poll(min(left, LOOK_EVERY_S) * 1000)
            self._read()
            if name not in self.facts:
                refuse_if_halted(self._process)
                meanwhile()
        return True

    def close(self) -> None:
        """Let go: whoever opens the pipe from now on finds nobody."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._life is not None:
            os.close(self._life)
            self._life = None

    def __enter__(self) -> "Report":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._text = (self._text + os.read(self._fd, 4096))[:LONGEST]


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def _plain(value: str) -> str:
    """Undo the script's escaping; what is hostile is left as it came."""
    try:
        return value.encode("ascii").decode("unicode_escape")
    except (UnicodeDecodeError, UnicodeEncodeError):
        return value
