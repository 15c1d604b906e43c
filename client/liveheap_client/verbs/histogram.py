"""`histogram`: objects by type, counted by the worker or read from a file."""

from typing import Any

from liveheap.commands.histogram import COLUMNS, HISTOGRAM
from liveheap.protocol.results import Table
from liveheap_client.desk import Desk
from liveheap_client.render.shapes import Shape
from liveheap_client.verbs.ask import ask, help_text, option, show
from liveheap_client.verbs.base import Verb, json_option, place_argument
from liveheap_client.verbs.load import graph_of
from liveheap_client.verbs.places import is_snapshot


def perform(
    desk: Desk, *, as_json: bool, top: int, place: str | None = None, **args: Any
) -> int:
    """Ask the worker, or count what a file holds."""
    if place is not None and is_snapshot(place):
        show(desk, of_file(desk, place, top), as_json=as_json)
        return 0
    arguments = {"top": top, **args}
    return ask(
        desk, HISTOGRAM, place, arguments, as_json=as_json, rename=short_type_names
    )


def short_type_names(shape: Shape) -> Shape:
    """Call `builtins.dict` what snapshots, diffs and people call it."""
    if not isinstance(shape, Table) or shape.columns[:1] != COLUMNS[:1]:
        return shape
    rows = [(str(name).removeprefix("builtins."), *rest) for name, *rest in shape.rows]
    return Table(shape.columns, tuple(rows))


def of_file(desk: Desk, file: str, top: int) -> Table:
    """Count the objects of a snapshot."""
    from liveheap_client.analysis import histogram  # noqa: PLC0415 - numpy is slow

    rows = histogram.table(graph_of(desk, file))[:top]
    return Table(COLUMNS, tuple((row.type, row.count, row.bytes) for row in rows))


VERB = Verb(
    name="histogram",
    help=help_text(HISTOGRAM) + "\n\nOf a snapshot file, no worker is asked.",
    scope=HISTOGRAM.scope,
    perform=perform,
    params=(
        *map(option, HISTOGRAM.params),
        json_option(),
    ),
    target_params=(place_argument("[TARGET|FILE]"),),
    shell_params=(place_argument("[FILE]"),),
)
