"""Many workers' leaks on one screen: sentence, ranking, places, failures.

Works on the JSON form, and is prose for a person, also in a pipe.
"""

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from liveheap.protocol.results import Column
from liveheap_client.render.escape import visible
from liveheap_client.render.table import Look, table
from liveheap_client.render.units import human_bytes, signed

_WIDTH = 80
_MOST_PLACES = 6
_MOST_FAILURES = 12
_LONGEST = 400
_PER = {"hour": "an hour", "round": "a round"}

Found = Mapping[str, Any]


def lines(found: Found, *, look: Look) -> Iterator[str]:
    """Yield the screen."""
    width = min(look.width or _WIDTH, 120)
    yield from map(look.strong, _wrapped(found["sentence"], width))
    ranked = [one for one in found["workers"] if one["failure"] is None]
    if ranked:
        yield ""
        yield from _ranking(found, look)
    for leak in found["leaks"][:_MOST_PLACES]:
        yield ""
        yield from _place(leak, found["per"], width)
    more = len(found["leaks"]) - _MOST_PLACES
    if more > 0:
        yield f"... and {more} more: --json"
    yield from _failures(found, width)
    if found["next"]:
        yield ""
        yield f"next:  {visible(found['next'], longest=_LONGEST)}"


def _ranking(found: Found, look: Look) -> list[str]:
    columns = (
        Column("worker", "text"),
        Column("program", "text"),
        Column("role", "text"),
        Column("rss", "bytes"),
        Column("gained", "bytes"),
        Column(_PER[found["per"]], "bytes"),
        Column("verdict", "text"),
        Column("places", "text"),
    )
    rows = [
        [
            one["worker"],
            one["program"],
            one["role"],
            one["rss"],
            one["gained"],
            one["bytes_slope"],
            one["verdict"],
            " ".join(one["leaks"]),
        ]
        for one in found["workers"]
        if one["failure"] is None
    ]
    return table(columns, rows, look=replace(look, human=True))


def _place(leak: Found, per: str, width: int) -> Iterator[str]:
    told = f"{leak['label']}  {leak['what']}"
    yield from _wrapped(told, width, 3)
    names = ", ".join(str(name) for name in leak["workers"])
    rate = f"{signed(human_bytes(leak['bytes_slope']))} {_PER[per]}"
    count = len(leak["workers"])
    who = f"{count} workers, {rate}: {names}" if count > 1 else f"{names}, {rate}"
    yield from _wrapped(f"   {who}", width, 3)


def _failures(found: Found, width: int) -> Iterator[str]:
    failed = [one for one in found["workers"] if one["failure"] is not None]
    if failed:
        yield ""
    for one in failed[:_MOST_FAILURES]:
        yield from _wrapped(f"not judged: {one['worker']}: {one['failure']}", width, 3)
    if len(failed) > _MOST_FAILURES:
        yield f"... and {len(failed) - _MOST_FAILURES} more: --json"
    for one in found["workers"]:
        for note in one["notes"] if one["failure"] is None else ():
            yield from _wrapped(f"note: {one['worker']}: {note}", width, 6)


def _wrapped(text: str, width: int, indent: int = 0) -> list[str]:
    shown = visible(text, longest=_LONGEST)
    return textwrap.wrap(
        shown,
        width - 1,
        subsequent_indent=" " * indent,
        break_on_hyphens=False,
        drop_whitespace=True,
    ) or [""]
