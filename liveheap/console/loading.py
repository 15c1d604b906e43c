"""manhole's console class, had without its side effects; for the main thread.

Its import looks for a library, which runs a compiler or `ldconfig` and so switches
greenlets; and it takes eventlet and gevent into a worker that uses neither. Here
nothing is found, and what the worker does not have stays out: for this thread alone,
others may look for and import what they like meanwhile. `manhole.install()` is never
called; a manhole of the application's own goes on as it was.

An agent that was brought into a worker finds no manhole there. The standard library's
console, which manhole's is a small step from, then takes its place.

What an evaluation needs is imported here as well: its thread shall import nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

UNINVITED = ("eventlet", "gevent")


class RunOnMain(Protocol):
    """Runs something once on the main thread, or, if it does not come, here."""

    def __call__(
        self, fn: Callable[[], Any], *, else_here: bool
    ) -> tuple[str, Any]: ...


class Fence:
    """A finder that has, for one thread, no module of some names."""

    def __init__(self, ident: Callable[[], int]) -> None:
        self._ident = ident
        self._mine = ident()

    def find_spec(self, name: str, *_: object) -> None:
        """Refuse, or let the next one find it."""
        if name.partition(".")[0] in UNINVITED and self._ident() == self._mine:
            raise ModuleNotFoundError(f"{name} is kept out", name=name)


@contextmanager
def without_side_effects(ident: Callable[[], int]) -> Iterator[None]:
    """Keep uninvited modules out, and let no library be looked for."""
    import ctypes.util  # noqa: PLC0415 - the worker at rest has no use for it

    fence, find, mine = Fence(ident), ctypes.util.find_library, ident()

    def find_nothing_here(name: str) -> str | None:
        return None if ident() == mine else find(name)

    sys.meta_path.insert(0, fence)
    ctypes.util.find_library = find_nothing_here
    try:
        yield
    finally:
        if ctypes.util.find_library is find_nothing_here:
            ctypes.util.find_library = find
        sys.meta_path.remove(fence)


def loaded(ident: Callable[[], int], run_on_main: RunOnMain) -> tuple[type[Any], str]:
    """Return the console class and what it is called, loaded at most once.

    Raises:
        CommandError: under gevent, where only the main thread can load it, that did not
            come.
    """
    if not Loaded.found:
        _, found = run_on_main(lambda: load(ident), else_here=not is_green())
        Loaded.found = (found,)
    return Loaded.found[0]


class Loaded:
    """What was found, if it was looked for."""

    found: tuple[()] | tuple[tuple[type[Any], str]] = ()


def is_green() -> bool:
    """Whether threads of this process have been made greenlets."""
    gevent: Any = sys.modules.get("gevent.monkey")
    eventlet: Any = sys.modules.get("eventlet.patcher")
    return bool(
        (gevent is not None and gevent.is_module_patched("threading"))
        or (eventlet is not None and eventlet.is_monkey_patched("thread"))
    )


def load(ident: Callable[[], int]) -> tuple[type[Any], str]:
    """Return the console class and what it is called. Call it on the main thread."""
    import code  # noqa: PLC0415 - the worker at rest has no use for them
    import traceback  # noqa: PLC0415

    traceback.format_exception(ValueError, ValueError("what it needs, it loads"), None)
    code.compile_command("None")
    try:
        with without_side_effects(ident):
            import manhole  # noqa: PLC0415
    except Exception:
        return code.InteractiveConsole, "the standard library's; no manhole here"
    version = getattr(manhole, "__version__", "")
    return manhole.ManholeConsole, f"manhole {version}".strip()
