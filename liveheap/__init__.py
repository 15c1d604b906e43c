"""liveheap: what a running Python worker holds, who holds it, and what grows.

    import liveheap
    liveheap.start()

Importing this costs nothing: the agent is imported when it is started.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from liveheap.labels import task as task

__version__ = "0.1.0"
__all__ = ["__version__", "start", "stop", "task"]


def start(*, strict: bool = False, **settings: object) -> None:
    """Start the agent of this process; once more does nothing.

    Call it on the main thread. Settings are those of the environment, in lower case
    and without `LIVEHEAP_`: `start(name="billing", allow="read")`. What goes wrong is
    said once on stderr and leaves the worker alone, unless `strict`.

    The agent's thread is a second one: CPython from 3.12 on warns a process that forks
    with it, and from 3.15 on raises where warnings are errors. `master=False` leaves
    the process that calls this without, and gives each of its children one.
    """
    try:
        from liveheap.agent import start as agent  # noqa: PLC0415 (on demand)

        agent.start(__version__, settings)
    except BaseException as exc:
        if strict or not isinstance(exc, Exception):
            raise
        _say(exc)


def stop() -> None:
    """End the agent of this process and undo what it did."""
    from liveheap.agent import start as agent  # noqa: PLC0415 (on demand)

    agent.stop()


def __getattr__(name: str) -> object:
    """Import what labels tasks when somebody labels one."""
    if name != "task":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from liveheap.labels import task  # noqa: PLC0415 (on demand)

    globals()["task"] = task
    return task


_said: set[int] = set()


def _say(exc: Exception) -> None:
    """Complain on stderr, once per process."""
    import os  # noqa: PLC0415 (on demand)
    import sys  # noqa: PLC0415 (on demand)

    if sys.stderr is None or os.getpid() in _said:
        return
    _said.add(os.getpid())
    hint = getattr(exc, "hint", None)
    text = f"liveheap: no agent in this process: {exc or type(exc).__name__}"
    try:
        sys.stderr.write(f"{text}; hint: {hint}\n" if hint else f"{text}\n")
    except Exception:
        return
