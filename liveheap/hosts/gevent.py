"""gevent, as seen from a native thread: the main thread's hub, and how many greenlets.

Nothing is imported: a host without gevent has none in `sys.modules`. The hub of
another thread is in a thread-local, out of reach; but an idle hub *is* the frame in
which the main thread sleeps, and a busy main thread is reached by a pending call. So
the frames of the main thread are looked at, and what was found is kept by a weak
reference. Only the hub's own frame is looked into: see asyncio_loop.py.
"""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable
from itertools import chain, starmap
from types import FrameType
from typing import Any

HUB_FILE = "gevent/hub.py"
_known: list[weakref.ref[Any]] = []


def is_loaded() -> bool:
    """Whether the host has gevent's hub in it."""
    return "gevent.hub" in sys.modules


def remember_hub() -> None:
    """Note the calling thread's hub, if gevent runs in it. For the main thread."""
    hub = _hub_here()
    if hub is not None:
        _known[:] = [weakref.ref(hub)]


def find_waker(
    main_ident: int, frame: FrameType | None
) -> Callable[[Callable[[], None]], Any] | None:
    """Return a function that makes the main thread's hub call something soon."""
    hub = find_hub(main_ident, frame)
    return getattr(getattr(hub, "loop", None), "run_callback_threadsafe", None)


def find_hub(main_ident: int, frame: FrameType | None) -> Any:
    """Return the main thread's hub, or None."""
    module = sys.modules.get("gevent.hub")
    hub_type = getattr(module, "Hub", None)
    if hub_type is None:
        return None
    known = _known[0]() if _known else None
    if known is not None and usable(known, main_ident):
        return known
    while frame is not None:
        code = frame.f_code
        is_hub = code.co_name == "run" and code.co_filename.endswith(HUB_FILE)
        hub = frame.f_locals.get("self") if is_hub else None
        if issubclass(type(hub), hub_type) and usable(hub, main_ident):
            _known[:] = [weakref.ref(hub)]
            return hub
        frame = frame.f_back
    return None


def usable(hub: Any, main_ident: int) -> bool:
    """Whether the hub belongs to the main thread and has a live loop."""
    return hub.loop is not None and hub.thread_ident == main_ident


def spawn_here(fn: Callable[[], None]) -> bool:
    """Run something in a greenlet of the calling thread's hub; false if it has none."""
    hub = _hub_here()
    spawn = getattr(sys.modules.get("gevent"), "spawn", None)
    if spawn is None or getattr(hub, "loop", None) is None:
        return False
    spawn(fn)
    return True


def interrupter_here() -> Callable[[], object]:
    """Return what interrupts the calling greenlet from any thread, once it waits.

    The exception is of both kinds: one that nobody catches ends a greenlet in silence,
    where KeyboardInterrupt alone would be raised in the main greenlet.
    """
    gevent, hub = sys.modules["gevent"], _hub_here()
    kinds = (KeyboardInterrupt, gevent.GreenletExit)
    interrupt, greenlet = type("KeyboardInterrupt", kinds, {}), gevent.getcurrent()

    def kill() -> None:
        greenlet.kill(interrupt, block=False)

    return lambda: hub.loop.run_callback_threadsafe(kill)


def destroy_hub_here() -> None:
    """Destroy the calling thread's hub, if it has got one."""
    hub = _hub_here()
    if hub is not None:
        hub.destroy(destroy_loop=True)


def _hub_here() -> Any:
    hubs = sys.modules.get("gevent._hub_local")
    get_hub = getattr(hubs, "get_hub_if_exists", None)
    return get_hub() if get_hub is not None else None


def count_greenlets() -> int | None:
    """Count the greenlets the collector knows; None if the host has no greenlet.

    One call into C from end to end, that of `gc.get_objects` within it. Between two
    calls the GIL may be let go; were it while the list of all objects is alive, the
    last reference to one of them might be dropped here, and the host's finalizer run
    on our thread; and a tuple that the host is filling could not be resized, which is
    a SystemError there. So this stops the worker for about 60 ns per object; the caller
    asks only of a small one. Types are told by `id`, because a metaclass hashes them,
    and it may be the host's.
    """
    base = getattr(sys.modules.get("greenlet"), "greenlet", None)
    if base is None:
        return None
    kinds, todo = {id(base)}, [base]
    while todo:
        below = type.__subclasses__(todo.pop())
        todo.extend(kind for kind in below if id(kind) not in kinds)
        kinds.update(map(id, below))
    objects = chain.from_iterable(starmap(gc.get_objects, ((),)))
    return sum(map(kinds.__contains__, map(id, map(type, objects))))
