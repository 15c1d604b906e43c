"""The demo's processes: a worker, and commands one after the other; all of them end.

A command's stdout is a terminal of its own, 80 columns wide, so that it prints what a
person would see: sizes in human units, lines as they come. Its stderr is the demo's.
Whoever leaves early, by an error or by Ctrl-C, leaves no process behind.
"""

import os
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType


class DemoFailed(Exception):
    """The tour cannot go on; the message says at what."""


class Command:
    """One `liveheap ...` in a process of its own."""

    def __init__(
        self,
        words: Sequence[str],
        *,
        environ: Mapping[str, str],
        directory: Path,
        as_terminal: bool,
    ) -> None:
        reader, writer = raw_terminal() if as_terminal else os.pipe()
        self._reader = reader
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "liveheap_client", *words],
                env=dict(environ),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=writer,
                text=True,
            )
        finally:
            os.close(writer)

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    def lines(self, *, until: float) -> Iterator[str]:
        """Yield the lines of its output; kill it if it is not through in time."""
        rest = b""
        try:
            with self._process, killed_at(self._process, until):
                while piece := self._read():
                    *whole, rest = (rest + piece).split(b"\n")
                    for line in whole:
                        yield line.decode("utf-8", "replace") + "\n"
        finally:
            os.close(self._reader)
        if rest:
            yield rest.decode("utf-8", "replace") + "\n"

    def _read(self) -> bytes:
        """Read what there is; a terminal whose other end is gone fails with EIO."""
        try:
            return os.read(self._reader, 1 << 16)
        except OSError:
            return b""


def raw_terminal() -> tuple[int, int]:
    """Make a terminal that passes on what is written; return its two ends."""
    reader, writer = os.openpty()
    settings = termios.tcgetattr(writer)
    settings[1] &= ~termios.OPOST
    termios.tcsetattr(writer, termios.TCSANOW, settings)
    return reader, writer


def private_environ(directory: Path, *, width: int) -> dict[str, str]:
    """Return an environment in which nothing of ours but this demo exists."""
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("LIVEHEAP")
    }
    environ["LIVEHEAP_DIR"] = str(directory / "run")
    environ["COLUMNS"] = str(width)
    environ["NO_COLOR"] = "1"
    environ["PYTHONUNBUFFERED"] = "1"
    (directory / "run").mkdir(mode=0o700)
    return environ


@contextmanager
def running_worker(
    program: Path, environ: Mapping[str, str], *, until: float
) -> Iterator["subprocess.Popen[str]"]:
    """Start the worker, wait until it serves, and end it at the exit."""
    worker = subprocess.Popen(
        [sys.executable, str(program)],
        env=dict(environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert worker.stdout is not None
        with killed_at(worker, until):
            said = worker.stdout.readline()
        if said != "ready\n":
            raise DemoFailed("its worker did not start")
        yield worker
    finally:
        worker.kill()
        worker.communicate()


@contextmanager
def killed_at(process: "subprocess.Popen[str]", moment: float) -> Iterator[None]:
    """Kill a process that is not through in time, or that we leave by an error."""
    timer = threading.Timer(max(moment - time.monotonic(), 0.1), process.kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    except BaseException:
        process.kill()
        raise
    finally:
        timer.cancel()


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Make SIGTERM and SIGHUP leave the way Ctrl-C does, through every clean-up."""

    def leave(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {
        number: signal.signal(number, leave)
        for number in (signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
