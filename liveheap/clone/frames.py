"""The frames of the copied worker, as objects that heapy and objgraph can see.

Neither of them sees what only a running frame holds: CPython's collector does not visit
the locals of a frame that runs, and the threads are gone from a copy anyway. So the
locals of every frame, of threads and of suspended greenlets, are put into a dict each,
under names that say whose they are, in a module that `sys.modules` holds. A retaining
path to an object held by a task in flight then ends in

    module frames -> "MainThread: sync() at jobs.py:41" -> "rows"

Made when something is first asked that needs it: until then a copy costs next to
nothing, and finding the greenlets touches every object.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import FrameType, ModuleType
from typing import Any

NAME = "frames"
MOST_FRAMES = 100_000


def expose(threads: Mapping[int, FrameType], own: frozenset[int]) -> ModuleType:
    """Put the locals of all frames into a module; leave out the agent's own threads.

    `threads` is `sys._current_frames()` of the moment before the copy was made.
    """
    module = ModuleType(NAME, "The frames of the worker when the copy was made.")
    held: dict[str, Any] = {}
    for owner, frame in owners(threads, own):
        for place in chain(frame):
            if len(held) >= MOST_FRAMES:
                break
            name = f"{owner}: {title(place)}"
            while name in held:
                name += "'"
            with suppress(Exception):
                if place.f_locals is not place.f_globals:
                    held[name] = dict(place.f_locals)
    module.__dict__.update(held)
    sys.modules[f"liveheap.{NAME}"] = module
    module.__name__ = f"liveheap.{NAME}"
    return module


def owners(
    threads: Mapping[int, FrameType], own: frozenset[int]
) -> Iterator[tuple[str, FrameType]]:
    """Yield the top frame of each thread and of each suspended greenlet."""
    known = getattr(sys.modules.get("threading"), "_active", {})
    for ident, frame in threads.items():
        name = getattr(known.get(ident), "_name", None)
        if ident not in own:
            yield str(name or f"thread {ident:#x}"), frame
    kind: Any = getattr(sys.modules.get("greenlet"), "greenlet", None)
    for each in gc.get_objects() if kind is not None else ():
        if issubclass(type(each), kind):
            with suppress(Exception):
                frame = kind.gr_frame.__get__(each)
                if frame is not None:
                    yield f"greenlet {id(each):#x}", frame


def chain(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield a frame and its callers."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def title(frame: FrameType) -> str:
    """Return what a frame is called."""
    code = frame.f_code
    file = code.co_filename.rpartition("/")[2]
    return f"{code.co_name}() at {file}:{frame.f_lineno}"
