"""`collections`: the largest containers, or of several files those that grow."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from liveheap.protocol.results import Column, Table
from liveheap_client.desk import Desk
from liveheap_client.errors import UsageError
from liveheap_client.progress import bar
from liveheap_client.render.units import human_count
from liveheap_client.verbs.ask import show
from liveheap_client.verbs.base import Verb, json_option, places_argument
from liveheap_client.verbs.load import graph_of, load
from liveheap_client.verbs.looking import (
    LIVE_HELP,
    NOTHING_LEFT,
    filter_of,
    filter_options,
    number_option,
    say_if_truncated,
)
from liveheap_client.verbs.places import is_snapshot

if TYPE_CHECKING:
    from liveheap_client.analysis.filters import Filter

LARGEST = (
    Column("holder", "text"),
    Column("type", "text"),
    Column("count", "count"),
    Column("items", "count"),
    Column("longest", "count"),
    Column("fill", "percent"),
    Column("bytes", "bytes"),
)
GROWING = (
    Column("holder", "text"),
    Column("type", "text"),
    Column("first", "count"),
    Column("last", "count"),
    Column("per round", "count"),
)
_HELP = f"""Rank containers by their length and fill, or of several files by growth.

By the path that holds them: `items` are those of all containers of a path, `longest`
is the longest of them, `fill` the share of their slots in use, where known. Give
several files, oldest first, for the paths whose containers get longer.

{LIVE_HELP}
"""


def perform(
    desk: Desk, *, places: Sequence[str], limit: int, as_json: bool, **kept: Any
) -> int:
    """Rank, show."""
    chosen = filter_of(**kept)
    if len(places) > 1:
        table, left_out = _growing(desk, places, chosen, limit)
    else:
        table, left_out = _largest(desk, places[0] if places else None, chosen, limit)
    show(desk, table, as_json=as_json)
    if not table.rows and len(places) < 2:
        desk.terminal.say(NOTHING_LEFT)
    if left_out > 0 and not as_json:
        desk.terminal.say(f"{human_count(left_out)} more are smaller: --limit")
    return 0


def _largest(
    desk: Desk, place: str | None, kept: "Filter", limit: int
) -> tuple[Table, int]:
    from liveheap_client.analysis import containers  # noqa: PLC0415 - numpy is slow

    graph = graph_of(desk, place)
    with bar(desk.terminal) as progress:
        progress.update("measuring containers")
        rows = containers.containers(graph, kept)
    say_if_truncated(desk, graph)
    shown = tuple(
        (r.path, r.type, r.count, r.length, r.longest, r.fill, r.bytes)
        for r in rows[:limit]
    )
    return Table(LARGEST, shown), len(rows) - limit


def _growing(
    desk: Desk, places: Sequence[str], kept: "Filter", limit: int
) -> tuple[Table, int]:
    from liveheap_client.analysis import containers  # noqa: PLC0415 - numpy is slow

    for place in places:
        if not is_snapshot(place):
            raise UsageError(
                f"growth is told from snapshot files; {place!r} is none",
                hint="liveheap diff TARGET --rounds 4 --keep DIR takes some",
            )
    rounds = []
    with bar(desk.terminal) as progress:
        for number, place in enumerate(places):
            progress.update(f"reading {place}", done=number, total=len(places))
            rounds.append(containers.containers(load(Path(place)), kept))
    rows = containers.growing(rounds)
    shown = tuple(
        (r.path, r.type, r.lengths[0], r.lengths[-1], r.per_round) for r in rows[:limit]
    )
    return Table(GROWING, shown), len(rows) - limit


VERB = Verb(
    name="collections",
    help=_HELP,
    perform=perform,
    params=(
        number_option("--limit", 20, 100_000, "Show this many."),
        *filter_options(),
        json_option(),
    ),
    target_params=(places_argument("[TARGET|FILE...]"),),
    shell_params=(places_argument("[FILE...]"),),
)
