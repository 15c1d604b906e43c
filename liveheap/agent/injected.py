"""An agent that comes from outside, into a worker that runs already.

`begin` is what the script of `liveheap inject` calls, on the worker's main thread, once
the agent's modules can be imported; everything it needs is imported by then, so the
files it came from may go at once. It may be called again: then it says what is there.

The way out undoes the way in. Modules that came with us leave `sys.modules`; what the
standard library was asked for stays: the worker may have begun to use it. Who was told
to stay away leaves the modules there, to know that when they are brought once more.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping

from liveheap import heap
from liveheap.agent import start
from liveheap.errors import EngineError

PACKAGE = "liveheap"


def begin(
    version: str, settings: Mapping[str, object], before: Iterable[str]
) -> dict[str, str]:
    """Start an agent unless one runs; return where it listens.

    `before`: the names in `sys.modules` before anything of ours was imported.

    Raises:
        LiveheapError, OSError: it cannot be started, or its engine does not load.
    """
    known = frozenset(before)
    if heap.import_error is not None:
        raise EngineError(heap.import_error)
    state = "running"
    if start.Current.agent is None:
        start.start(version, settings, injected=True)
        state = "started"
    agent = start.Current.agent
    if agent is None:
        return {"state": "off"}
    if state == "started":
        agent.end = lambda: end(known)
    return {"state": state, "pid": str(os.getpid()), "socket": agent.place}


def end(known: frozenset[str]) -> None:
    """Leave, and take away the modules that came with us and need not remember."""
    start.leave()
    if start.Current.off:
        return
    for name in list(sys.modules):
        if name.partition(".")[0] == PACKAGE and name not in known:
            sys.modules.pop(name, None)
