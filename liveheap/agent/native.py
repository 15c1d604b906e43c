"""Threads, locks, poll and sleep as the interpreter made them, whatever patched it.

gevent and eventlet replace the modules' functions. A thread started through the
replacement is a greenlet: it answers while the hub is free and is dead beside a
CPU-bound greenlet, which is when it is needed. So the originals are taken here, once,
on the main thread, before or after the patch; and from then on the agent's threads
use nothing else: no `threading`, no `socket`, no `select`, no `time.sleep`. A fork
keeps them valid.

`threading` itself is imported first, on the main thread: on CPython 3.12 and older
the thread that first imports it becomes `threading.main_thread()`.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}
SIGNALS = signal.valid_signals() - FAULTS
BLOCK = signal.SIG_BLOCK


@dataclass(frozen=True, slots=True)
class Native:
    """The unpatched primitives."""

    start_thread: Callable[..., int]
    lock: Callable[[], Any]
    poll: Callable[[], Any]
    sleep: Callable[[float], None]
    ident: Callable[[], int]
    main_ident: int

    def in_child(self) -> Native:
        """Return what holds in a forked child: whoever forked is its main thread."""
        return Native(
            self.start_thread,
            self.lock,
            self.poll,
            self.sleep,
            self.ident,
            self.ident(),
        )


def find() -> Native:
    """Return the originals. Call it on the main thread."""
    return Native(
        start_thread=original("_thread", "start_new_thread"),
        lock=original("_thread", "allocate_lock"),
        poll=original("select", "poll"),
        sleep=original("time", "sleep"),
        ident=original("_thread", "get_ident"),
        main_ident=main_ident(),
    )


def original(module: str, name: str) -> Any:
    """Return a function as it was before gevent or eventlet, if one is loaded."""
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None:
        return gevent.get_original(module, name)
    eventlet = sys.modules.get("eventlet.patcher")
    if eventlet is not None:
        return getattr(eventlet.original(module), name)
    return getattr(__import__(module), name)


def main_ident() -> int:
    """Return the identity of the main thread, as `sys._current_frames` has it.

    Under gevent `get_ident` is that of a greenlet and `main_thread().ident` may be
    too; the original function is right on the main thread, where `start` runs. Who is
    there is the kernel's to say: `current_thread()` in a greenlet that has no thread,
    such as the hub, makes one that `enumerate()` lists from then on.
    """
    get_ident = original("_thread", "get_ident")
    if _thread.get_native_id() == os.getpid():
        return int(get_ident())
    return int(threading.main_thread().ident or get_ident())


def native_id() -> int:
    """Return the kernel's id of the calling thread."""
    return _thread.get_native_id()


def block_signals() -> None:
    """Leave every signal to the worker's own threads, but faults of our own."""
    signal.pthread_sigmask(BLOCK, SIGNALS)
