"""asyncio, as seen from a native thread: the main thread's running loop.

The running loop is a thread-local of C. It is found in the frames of the main thread
instead: `run_forever(self)` of the standard library, or asyncio's runner, which holds
a loop written in C (uvloop). Nothing is imported.

Only asyncio's own frames are looked into. Before CPython 3.13 asking a frame for its
locals makes a dict of them that lives as long as the frame: in the host's frames it
would keep the host's objects, and drop them, finalizers and all, on our thread.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

LOOP_FILES = ("asyncio/base_events.py", "asyncio/runners.py", "uvloop/__init__.py")
LOCALS = ("loop", "self")


def is_loaded() -> bool:
    """Whether the host may have a loop."""
    return "asyncio.events" in sys.modules


def find_waker(
    frame: FrameType | None,
) -> Callable[[Callable[[], None]], Any] | None:
    """Return a function that makes the main thread's loop call something soon."""
    module = sys.modules.get("asyncio.events")
    loop_type = getattr(module, "AbstractEventLoop", None)
    while loop_type is not None and frame is not None:
        if frame.f_code.co_filename.endswith(LOOP_FILES):
            for name in LOCALS:
                found: Any = frame.f_locals.get(name)
                if not issubclass(type(found), loop_type):
                    found = getattr(found, "_loop", None)
                if issubclass(type(found), loop_type):
                    wake: Callable[..., Any] = found.call_soon_threadsafe
                    return wake
        frame = frame.f_back
    return None
