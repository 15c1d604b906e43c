"""`top`: what the names of a program retain."""

from typing import Any

from liveheap.protocol.results import Column, Table
from liveheap_client.desk import Desk
from liveheap_client.progress import bar
from liveheap_client.render.units import human_count
from liveheap_client.verbs.ask import show
from liveheap_client.verbs.base import Verb, json_option, place_argument
from liveheap_client.verbs.load import graph_of
from liveheap_client.verbs.looking import (
    LIVE_HELP,
    NOTHING_LEFT,
    filter_of,
    filter_options,
    number_option,
    say_if_truncated,
)

COLUMNS = (
    Column("holder", "text"),
    Column("type", "text"),
    Column("count", "count"),
    Column("retained", "bytes"),
    Column("share", "percent"),
)
_HELP = f"""Rank globals, class attributes and variables of frames by what they retain.

Retained is what would go if the object went; what two of them share belongs to neither.
The same variable of many threads or greenlets is one row.

{LIVE_HELP}
"""


def perform(
    desk: Desk, *, place: str | None, limit: int, as_json: bool, **kept: Any
) -> int:
    """Rank, show."""
    from liveheap_client.analysis import toplevel  # noqa: PLC0415 - numpy is slow

    graph = graph_of(desk, place)
    with bar(desk.terminal) as progress:
        progress.update("finding what retains what")
        rows = toplevel.holders(graph, filter_of(**kept))
    shown = [(r.path, r.type, r.count, r.retained, r.share) for r in rows[:limit]]
    show(desk, Table(COLUMNS, tuple(shown)), as_json=as_json)
    if not rows:
        desk.terminal.say(NOTHING_LEFT)
    if len(rows) > limit and not as_json:
        desk.terminal.say(f"{human_count(len(rows) - limit)} more retain less: --limit")
    say_if_truncated(desk, graph)
    return 0


VERB = Verb(
    name="top",
    help=_HELP,
    perform=perform,
    params=(
        number_option("--limit", 20, 100_000, "Show this many."),
        *filter_options(),
        json_option(),
    ),
    target_params=(place_argument("[TARGET|FILE]"),),
    shell_params=(place_argument("[FILE]"),),
)
