"""Found first through PYTHONPATH under `liveheap run`; see liveheap/boot/__init__.py.

Leaves `sys.path` as it would be without us, starts the agent, and then is the
sitecustomize that it shadows, if there is one.
"""

import os
import sys


def _leave_path() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [
        place for place in sys.path if os.path.abspath(place or os.curdir) != here
    ]
    sys.path_importer_cache.pop(here, None)


def _start_agent() -> None:
    try:
        from liveheap import boot  # noqa: PLC0415 (may be missing here)

        boot.begin()
    except Exception as exc:
        if sys.stderr is not None:
            sys.stderr.write(f"liveheap: no agent in this process: {exc}\n")


def _chain() -> None:
    ours = sys.modules.pop("sitecustomize", None)
    try:
        __import__("sitecustomize")
    except ImportError as exc:
        if exc.name != "sitecustomize":
            raise
        if ours is not None:
            sys.modules["sitecustomize"] = ours


_leave_path()
_start_agent()
_chain()
