"""Where a console's code writes, while the application writes on as ever.

While anything is evaluated, `sys.stdout`, `sys.stderr`, `sys.stdin`, the display hook
and the hook of `breakpoint()` are stand-ins: they serve the threads (or greenlets) that
evaluate, and are the application's own for all others. When nothing is evaluated any
more, what is still a stand-in of ours is put back; what somebody else has put there
meanwhile stays. A stand-in that the application has kept works on for ever, as what it
stood in for.

No input comes from the worker's stdin: it is the application's, and to read it would
steal or hang. It cannot be closed either, as `exit()` tries.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable
from typing import Any

NO_INPUT = "no input() in a liveheap console: assign a value instead"
NO_DEBUGGER = "no debugger in a liveheap console: it would wait for input"


class NoInput(RuntimeError):
    """Code of a console has asked for input, which it cannot have."""


class ConsoleOut:
    """sys.stdout and sys.stderr of evaluated code."""

    encoding, errors, newlines, mode = "utf-8", "backslashreplace", None, "w"
    name, closed, line_buffering = "<console>", False, True

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self.buffer = ConsoleBytes(write)

    def write(self, text: str) -> int:
        """Add text."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self._write(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Add several."""
        for line in lines:
            self.write(line)

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def isatty(self) -> bool:
        return False

    def flush(self) -> None:
        """Do nothing: all of it is on its way."""

    def close(self) -> None:
        """Do nothing."""

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")


class ConsoleBytes(ConsoleOut):
    """Its `buffer`: bytes are taken as UTF-8."""

    mode = "wb"

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def write(self, data: Any) -> int:
        """Add bytes."""
        raw = bytes(memoryview(data))
        self._write(raw.decode("utf-8", "backslashreplace"))
        return len(raw)


class ConsoleIn:
    """sys.stdin of evaluated code: there is none."""

    encoding, errors, mode, name, closed = "utf-8", "strict", "r", "<console>", False

    def read(self, size: int = -1) -> str:
        raise NoInput(NO_INPUT)

    readline = readlines = __next__ = read

    def __iter__(self) -> ConsoleIn:
        return self

    def readable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def close(self) -> None:
        """Do nothing: it is the worker's."""

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")


class Place:
    """Where the code of one evaluation writes and shows values."""

    def __init__(
        self, write: Callable[[str], None], show: Callable[[object], None]
    ) -> None:
        self.stdout = self.stderr = ConsoleOut(write)
        self.stdin = ConsoleIn()
        self.displayhook = show

    @staticmethod
    def breakpointhook(*_: object, **__: object) -> None:
        raise NoInput(NO_DEBUGGER)


NOWHERE = ConsoleOut(lambda _text: None)  # of a daemon, whose streams are None


class StandIn:
    """Stands in for a stream or hook: evaluating threads' own, else the original."""

    __slots__ = ("_find", "_name", "_original")

    def __init__(
        self, original: Any, name: str, find: Callable[[], Place | None]
    ) -> None:
        for slot, value in zip(
            ("_original", "_name", "_find"), (original, name, find), strict=True
        ):
            object.__setattr__(self, slot, value)

    def __getattr__(self, name: str) -> Any:
        return getattr(target(self), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(target(self), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(target(self), name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return target(self)(*args, **kwargs)

    def __iter__(self) -> Any:
        return iter(target(self))

    def __next__(self) -> Any:
        return next(target(self))

    def __enter__(self) -> Any:
        return target(self).__enter__()

    def __exit__(self, *args: Any) -> Any:
        return target(self).__exit__(*args)

    def __repr__(self) -> str:
        return repr(target(self))

    @property
    def __class__(self) -> type:
        return type(target(self))

    @__class__.setter
    def __class__(self, _kind: type) -> None:
        raise TypeError("not of a stand-in")


def target(stand_in: StandIn) -> Any:
    """Return what a stand-in is for the calling thread."""
    get = object.__getattribute__
    place = get(stand_in, "_find")()
    if place is not None:
        return getattr(place, get(stand_in, "_name"))
    original = get(stand_in, "_original")
    return NOWHERE if original is None else original


NAMES = ("stdout", "stderr", "stdin", "displayhook", "breakpointhook")


class Router:
    """All stand-ins of a process; its users are counted.

    `threads` and `greenlets` say by identity who evaluates; they are changed by single
    operations under the GIL, by that thread or greenlet itself. Sessions `attach`;
    `detach` may be called by any thread and never waits, for on the main thread it may
    come in the middle of another.
    """

    def __init__(self) -> None:
        self.threads: dict[int, Place] = {}
        self.greenlets: dict[int, Place] = {}
        self._users: set[object] = set()
        self._stand_ins: dict[str, StandIn] = {}
        self._lock: Any = None
        self._ident: Callable[[], int] = int

    def attach(
        self,
        user: object,
        *,
        lock: Callable[[], Any],
        ident: Callable[[], int],
    ) -> None:
        """Have stand-ins in place from now on until this user detaches."""
        if self._lock is None:
            self._lock, self._ident = lock(), ident
        self._users.add(user)
        with self._lock:
            self._settle()
        self._settle_unless_somebody_does()

    def detach(self, user: object) -> None:
        """Put back what was there, after the last one."""
        self._users.discard(user)
        self._settle_unless_somebody_does()

    def forget(self) -> None:
        """In a forked child: whatever was evaluated is not here."""
        self._lock = None
        self.threads.clear()
        self.greenlets.clear()
        self._users.clear()
        self._settle()

    def _settle_unless_somebody_does(self) -> None:
        """Who cannot have the lock may go: its holder looks again in the end."""
        while bool(self._users) != bool(self._stand_ins):
            if self._lock is None or not self._lock.acquire(False):
                return
            try:
                self._settle()
            finally:
                self._lock.release()

    def _settle(self) -> None:
        if self._users and not self._stand_ins:
            for name in NAMES:
                self._stand_ins[name] = self._stand_in(name)
        elif self._stand_ins and not self._users:
            for name, stand_in in list(self._stand_ins.items()):
                if getattr(sys, name, None) is stand_in:
                    original = object.__getattribute__(stand_in, "_original")
                    setattr(sys, name, original)
            self._stand_ins.clear()

    def _stand_in(self, name: str) -> StandIn:
        """Put a stand-in in place; one of ours that somebody has left there serves."""
        there = getattr(sys, name, None)
        if type(there) is StandIn:
            return there
        stand_in = StandIn(there, name, self._find)
        setattr(sys, name, stand_in)
        return stand_in

    def _find(self) -> Place | None:
        place = self.threads.get(self._ident()) if self.threads else None
        if place is None and self.greenlets:
            place = self.greenlets.get(id(sys.modules["greenlet"].getcurrent()))
        return place


ROUTER = Router()
