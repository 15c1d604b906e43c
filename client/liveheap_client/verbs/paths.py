"""`paths TYPE|ADDRESS`: why an object, or the objects of a type, are alive."""

from typing import Any

import click

from liveheap_client.desk import Desk
from liveheap_client.errors import UsageError
from liveheap_client.progress import bar
from liveheap_client.render import retained
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
from liveheap_client.verbs.places import is_snapshot

_HELP = f"""Show up to five retaining paths of an object, or of a type's objects.

Of a type: the paths that hold most of its objects. Of an ADDRESS, as `object` and
--json print them: different ways that lead to that object; an address means something
in the same file only. An object that no other one explains is told as such, with the
references too many.

{LIVE_HELP}
"""


def perform(
    desk: Desk,
    *,
    subject: str,
    place: str | None,
    count: int,
    as_json: bool,
    **kept: Any,
) -> int:
    """Search, show."""
    from liveheap_client.analysis import inspection, retaining  # noqa: PLC0415 - numpy

    if is_snapshot(subject):
        raise UsageError(
            f"the type or address comes first; {subject!r} is a snapshot file",
            hint=f"liveheap paths TYPE {subject}",
        )
    address = inspection.parse_address(subject)
    graph = graph_of(desk, place)
    with bar(desk.terminal) as progress:
        progress.update(f"looking for what holds {subject}")
        chosen = filter_of(**kept)
        if address is None:
            found = retaining.of_type(graph, subject, chosen, most=count)
        else:
            node = inspection.node_at(graph, address)
            found = retaining.of_object(graph, node, most=count)
    if found.count == 0:
        desk.terminal.say(NOTHING_LEFT)
    if as_json:
        desk.terminal.show_json(found.to_json())
    else:
        desk.terminal.show(
            retained.path_lines(found.to_json(), look=desk.terminal.look)
        )
    say_if_truncated(desk, graph)
    return 0


VERB = Verb(
    name="paths",
    help=_HELP,
    perform=perform,
    params=(
        click.Argument(["subject"], metavar="TYPE|ADDRESS"),
        number_option("--count", 3, 5, "Show this many paths."),
        *filter_options(),
        json_option(),
    ),
    target_params=(place_argument("[TARGET|FILE]"),),
    shell_params=(place_argument("[FILE]"),),
)
