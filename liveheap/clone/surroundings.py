"""Makes the copy a place of its own: nothing in it reaches for the worker any more.

What the kernel can do is done before Python runs (csrc/fences.h: files, signals,
limits). Here is the rest, in the order in which it could hurt: the collector, which
would run the worker's finalizers; what gevent or eventlet have put in the place of
blocking calls, which would enter a hub whose loop is the worker's; import locks that
threads held which do not exist here; `sys.stdout` and logging, whose locks may be held
likewise.

Nothing that is put aside is let go of: a worker's file that is freed here would close
itself, and wait for the lock of a thread of the worker that was reading from it.

Imports in a copy: a lock of a module that another thread was importing at the moment of
the fork would be waited for for ever, so all of them are forgotten, and such a module,
if it is one that we need, is loaded anew.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # built in, so unpatched
import _thread
import gc
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

OURS = frozenset({"guppy", "objgraph"})
KEPT: list[Any] = []
AUTOGROUP = "/proc/self/autogroup"
NICE_STEP, LAST_NICE = 10, 19  # as in csrc/fences.c
GREEN = {
    "_thread": ("allocate_lock", "start_new_thread", "get_ident"),
    "time": ("sleep",),
    "select": ("select", "poll"),
    "os": ("fork", "read", "write", "waitpid"),
}


def settle(output: Any, on_interrupt: Callable[..., object]) -> None:
    """Do all of it. In the copy, on its one thread."""
    gc.disable()
    sys.settrace(None)
    sys.setprofile(None)
    unpatch()
    go_apart()
    forget_imports()
    replace_streams(output)
    silence_logging()
    take_interrupts(on_interrupt)
    gc.collect = collect_nothing
    gc.unfreeze()


def go_apart() -> None:
    """Be a session of its own, behind the worker's as the copy was behind the worker.

    Where the kernel has autogroups it shares the processors between sessions first, and
    a nice value counts within one only: alone in its session the copy would be nobody's
    inferior.
    """
    with suppress(Exception):
        step = autogroup_nice() + NICE_STEP
        os.setsid()
        file = os.open(AUTOGROUP, os.O_WRONLY)
        os.write(file, b"%d" % min(step, LAST_NICE))
        os.close(file)


def autogroup_nice() -> int:
    """Return how nice this session is to others; 0 where that is no question."""
    with suppress(OSError, ValueError, IndexError):
        file = os.open(AUTOGROUP, os.O_RDONLY)
        text = os.read(file, 100)
        os.close(file)
        return int(text.split()[-1])
    return 0


def collect_nothing(generation: int = 2) -> int:
    """What `gc.collect` is here: the worker's finalizers shall not run in the copy."""
    return 0


def unpatch() -> None:
    """Put the interpreter's own functions back where gevent or eventlet stand."""
    monkey = sys.modules.get("gevent.monkey")
    for name, saved in dict(getattr(monkey, "saved", None) or {}).items():
        module = sys.modules.get(name)
        for attribute, value in saved.items() if module is not None else ():
            with suppress(Exception):
                KEPT.append(getattr(module, attribute))
                setattr(module, attribute, value)
    patcher = sys.modules.get("eventlet.patcher")
    for name, attributes in GREEN.items() if patcher is not None else ():
        with suppress(Exception):
            original = patcher.original(name)  # type: ignore[union-attr]
            for attribute in attributes:
                KEPT.append(getattr(sys.modules[name], attribute))
                setattr(sys.modules[name], attribute, getattr(original, attribute))


def forget_imports() -> None:
    """Forget who was importing what when the copy was made."""
    with suppress(RuntimeError):
        import_lock_release()
    bootstrap: Any = sys.modules.get("importlib._bootstrap") or sys.modules.get(
        "_frozen_importlib"
    )
    for name in ("_module_locks", "_blocking_on"):
        table: Any = getattr(bootstrap, name, None)
        with suppress(Exception):
            KEPT.append(dict(table))
            table.clear()
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__dict__", {}).get("__spec__")
        if spec is None or not getattr(spec, "_initializing", False):
            continue
        with suppress(Exception):
            spec._initializing = False
        root = name.partition(".")[0]
        if root in OURS or root in sys.stdlib_module_names:
            KEPT.append(sys.modules.pop(name))


def import_lock_release() -> None:
    """Release the import lock, which the agent took before the fork."""
    import _imp  # noqa: PLC0415 -- built in

    _imp.release_lock()


class NoInput:
    """What `sys.stdin` is here."""

    encoding, errors = "utf-8", "strict"

    def read(self, size: int = -1) -> str:
        """There is nothing to read."""
        return ""

    readline = read

    def __iter__(self) -> NoInput:
        return self

    def __next__(self) -> str:
        raise StopIteration

    def isatty(self) -> bool:
        """It is no terminal."""
        return False


def replace_streams(output: Any) -> None:
    """Write to the client, read nothing. The worker's streams are never touched."""
    KEPT.extend((sys.stdin, sys.stdout, sys.stderr))
    KEPT.extend((sys.__stdin__, sys.__stdout__, sys.__stderr__, sys.unraisablehook))
    sys.stdout = sys.stderr = output
    sys.__stdout__ = sys.__stderr__ = output  # type: ignore[misc]
    sys.stdin = sys.__stdin__ = NoInput()  # type: ignore[assignment, misc]
    sys.unraisablehook = lambda _: None


def silence_logging() -> None:
    """Make logging do nothing: its handlers and their locks are the worker's."""
    logging = sys.modules.get("logging")
    logger = getattr(logging, "Logger", None)
    if logging is None or logger is None:
        return
    with suppress(Exception):
        logger.isEnabledFor = lambda _self, _level: False
        logger.handle = logger.callHandlers = lambda _self, _record: None
        KEPT.append(logging.__dict__["_lock"])
        logging.__dict__["_lock"] = _thread.RLock()
        logging.__dict__["raiseExceptions"] = False


def take_interrupts(on_interrupt: Callable[..., object]) -> None:
    """Have SIGINT, and of Python's signals nothing else, call a function of ours."""
    _signal.set_wakeup_fd(-1)
    _signal.signal(_signal.SIGINT, on_interrupt)
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, {_signal.SIGINT})
