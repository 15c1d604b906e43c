"""Values with a unit, as text.

An agent sends numbers and says their unit. For a person at a terminal bytes and
seconds become short; in a pipe they stay what they are, so that `sort -n` and `awk`
work. The unit `id` is the client's own: a number that is a name (a pid).
"""

import time
from collections.abc import Callable

from liveheap_client.render.escape import visible

_STEPS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
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


def human_bytes(value: float) -> str:
    """Return `1.5 MiB`, with its sign."""
    size = float(abs(value))
    sign = "-" if value < 0 else ""
    step = 0
    while size >= 1024 and step < len(_STEPS) - 1:
        size /= 1024
        step += 1
    if step == 0:
        return f"{sign}{size:.0f} B"
    return f"{sign}{size:.{0 if size >= 100 else 1}f} {_STEPS[step]}"


def human_seconds(value: float) -> str:
    """Return `3d 4h`, `2h 5m`, `5m 3s`, `12 s`, `250 ms` or `40 us`."""
    if value < 0.001:
        return f"{value * 1e6:.0f} us"
    if value < 1:
        return f"{value * 1000:.3g} ms"
    if value < 60:
        return f"{value:.3g} s"
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours}h"
    return f"{hours}h {minutes}m" if hours else f"{minutes}m {seconds}s"


def human_count(value: float) -> str:
    """Return `1,234,567`."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def signed(text: str) -> str:
    """Return a formatted number with a plus, if it has no sign."""
    return text if text.startswith("-") else f"+{text}"


def _clock(value: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value))


_FORMS: dict[str, Callable[[float], str]] = {
    "bytes": human_bytes,
    "seconds": human_seconds,
    "count": human_count,
    "time": _clock,
    "percent": lambda value: f"{value:.1f} %",
    "id": str,
}
