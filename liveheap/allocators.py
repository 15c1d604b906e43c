"""Who gives out this process's memory, where its pages are, and giving some back.

The part of the engine that knows no objects: it works as soon as `_heap` can be loaded,
whatever its self-test says of the walker. Nothing here holds the GIL for longer than it
takes to make a small dict; `csrc/residence.h` says what each number is.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from liveheap.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_import_error: str | None = None
try:
    from liveheap import _heap
except Exception as exc:  # a broken build must not break the worker
    _import_error = f"the engine cannot be loaded: {exc}"


class Allocators:
    """The allocators of this process.

    Every method raises CommandError("unsupported") where the engine cannot be loaded,
    and "failed" where the kernel says no.
    """

    def names(self) -> Mapping[str, str | None]:
        """Return who gives out memory: `python`, `glibc` (its version), `malloc`."""
        _must_load()
        return _heap.allocators()

    def residence(self, seconds: float) -> Mapping[str, Any]:
        """Return where resident memory goes, looking for so long at most."""
        _must_load()
        with _explained("/proc/self/smaps"):
            return _heap.residence(seconds)

    def trim(self) -> float:
        """Have malloc give back what it can; return the seconds that it took.

        Raises:
            CommandError: "unsupported", if malloc is not glibc's.
        """
        _must_load()
        try:
            return _heap.trim() / 1e9
        except RuntimeError as exc:
            raise CommandError("unsupported", str(exc)) from exc

    def descriptors(self, seconds: float) -> Mapping[str, Any]:
        """Return the open files by kind, looking for so long at most."""
        _must_load()
        with _explained("/proc/self/fd"):
            return _heap.descriptors(seconds)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Say what could not be read, and why: no memory, no descriptor left, no /proc."""
    try:
        yield
    except (OSError, MemoryError) as exc:
        reason = getattr(exc, "strerror", None) or "no memory for it"
        raise CommandError("failed", f"{what} cannot be read: {reason}") from exc


def _must_load() -> None:
    if _import_error is not None:
        raise CommandError("unsupported", _import_error)
