"""An error as the lines a person sees: what happened, and one hint."""

from collections.abc import Iterator

from liveheap_client.render.escape import visible

_LONGEST_LINE = 1000


def lines(error: Exception, *, prefix: str = "liveheap: ") -> Iterator[str]:
    """Yield `liveheap: what`, further lines of the message indented, `hint: ...`."""
    first, *more = str(error).split("\n") or [""]
    yield prefix + visible(first or type(error).__name__, longest=_LONGEST_LINE)
    yield from (f"  {visible(line, longest=_LONGEST_LINE)}" for line in more if line)
    hint = getattr(error, "hint", None)
    if hint:
        yield f"hint: {visible(hint, longest=_LONGEST_LINE)}"
