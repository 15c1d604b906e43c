"""An error as the lines a person sees: what happened, and one hint."""

import textwrap
from collections.abc import Iterator

from liveheap_client.render.escape import visible

_LONGEST_LINE = 1000


def lines(
    error: Exception, *, prefix: str = "liveheap: ", width: int | None = None
) -> Iterator[str]:
    """Yield `liveheap: what`, further lines of the message indented, `hint: ...`.

    With a width the first and the last break between words; a pipe gets them whole.
    """
    first, *more = str(error).split("\n") or [""]
    yield from _broken(prefix, first or type(error).__name__, width)
    yield from (f"  {visible(line, longest=_LONGEST_LINE)}" for line in more if line)
    hint = getattr(error, "hint", None)
    if hint:
        yield from _broken("hint: ", hint, width)


def _broken(label: str, text: str, width: int | None) -> list[str]:
    line = label + visible(text, longest=_LONGEST_LINE)
    if width is None or len(line) < width:
        return [line]
    return textwrap.wrap(
        line,
        max(width - 1, 20),
        subsequent_indent=" " * min(len(label), 6),
        break_long_words=False,
        break_on_hyphens=False,
    )
