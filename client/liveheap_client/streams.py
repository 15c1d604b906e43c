"""Standard streams and signals, made safe before anything else runs.

A missing descriptor (`>&-`) would be taken by the first socket that is opened, and what
is printed would go to an agent: it is filled with /dev/null. A character that the
locale cannot write is spelled out instead of ending the command. SIGTERM and SIGHUP
leave as Ctrl-C does, through every clean-up: a killed `diff` leaves no snapshot in the
temporary directory. Standard library only.
"""

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import TextIO, cast

from liveheap_client.errors import ClientError, ReaderLeft

_STANDARD = (0, 1, 2)
_ENDING = (signal.SIGTERM, signal.SIGHUP)


def prepare() -> None:
    """Make sure that all three streams exist and that writing never chokes on text."""
    for descriptor in _STANDARD:
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdin = sys.stdin or _nowhere("r")
    sys.stdout = sys.stdout or _nowhere("w")
    sys.stderr = sys.stderr or _nowhere("w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """Turn what goes wrong with stdout into errors that say so."""
    try:
        yield
    except BrokenPipeError:
        raise ReaderLeft from None
    except OSError as exc:
        raise ClientError(f"cannot write to stdout: {exc.strerror or exc}") from exc


def settle_stdout() -> None:
    """Write what stdout still holds; if it cannot be, the exit shall not complain."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def ending_cleanly() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into SystemExit; what ignores them goes on doing so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, _leave)
        for number in _ENDING
        if signal.getsignal(number) is signal.SIG_DFL
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    raise SystemExit(128 + number)


def _nowhere(mode: str) -> TextIO:
    return cast("TextIO", open(os.devnull, mode, encoding="utf-8"))
