"""asyncio, as seen from a native thread: the main thread's running loop.

The running loop is a thread-local of C. It is found in the frames of the main thread
instead: `run_forever(self)` of the standard library, or the caller that holds a loop
written in C (uvloop) in a local. Nothing is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

LOCALS = ("self", "loop")


def find_waker(
    frame: FrameType | None,
) -> Callable[[Callable[[], None]], Any] | None:
    """Return a function that makes the main thread's loop call something soon."""
    module = sys.modules.get("asyncio.events")
    loop_type = getattr(module, "AbstractEventLoop", None)
    while loop_type is not None and frame is not None:
        for name in LOCALS:
            if name in frame.f_code.co_varnames:
                found: Any = frame.f_locals.get(name)
                if issubclass(type(found), loop_type):
                    wake: Callable[..., Any] = found.call_soon_threadsafe
                    return wake
        frame = frame.f_back
    return None
