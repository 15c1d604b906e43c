"""Values with a unit, as text.

An agent sends numbers and says their unit. For a person at a terminal bytes and
seconds become short; in a pipe they stay what they are, so that `sort -n` and `awk`
work. The unit `id` is the client's own: a number that is a name (a pid).
"""

import time
from collections.abc import Callable

from liveheap_client.quantities import (
    human_bytes,
    human_count,
    human_seconds,
    signed,
)
from liveheap_client.render.escape import visible

__all__ = [
    "NUMERIC",
    "human",
    "human_bytes",
    "human_count",
    "human_seconds",
    "plain",
    "signed",
]

NUMERIC = frozenset({"count", "bytes", "seconds", "percent", "id"})


def human(value: object, unit: str) -> str:
    """Return a value as a person reads it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        form = _FORMS.get(unit)
        if form:
            return form(value)
    return plain(value, unit)


def plain(value: object, unit: str) -> str:
    """Return a value as a program reads it: numbers unchanged."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}" if unit != "time" else f"{value:.3f}"
    if isinstance(value, list | tuple):
        return " ".join(plain(item, "") for item in value) or "-"
    return visible(value)


def _clock(value: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value))
    except (OverflowError, ValueError, OSError):  # beyond what a calendar has
        return plain(value, "time")


_FORMS: dict[str, Callable[[float], str]] = {
    "bytes": human_bytes,
    "seconds": human_seconds,
    "count": human_count,
    "time": _clock,
    "percent": lambda value: f"{value:.1f} %",
    "id": str,
}
