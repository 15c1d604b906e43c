"""Amounts as people say them, for whoever writes sentences: analysis as well as render.

Nothing here knows where the text will be shown; render/units.py chooses between these
and the plain numbers that programs read.
"""

_STEPS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


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
