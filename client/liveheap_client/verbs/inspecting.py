"""`object ADDRESS`: one object, who refers to it, and what it refers to."""

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
    filter_of,
    filter_options,
    number_option,
    say_if_truncated,
)

_HELP = f"""Show one object: type, sizes, references, referrers and referents by name.

An ADDRESS means something only in the snapshot it was printed from: Python gives the
place of a freed object to the next one. Take it from --json of `dominators` or `paths`,
or from an earlier `object`, of the same file. In a live worker it is `hex(id(x))`, if
x is still there.

{LIVE_HELP}
"""


def perform(
    desk: Desk,
    *,
    word: str,
    place: str | None,
    limit: int,
    as_json: bool,
    **kept: Any,
) -> int:
    """Look it up, show it."""
    from liveheap_client.analysis import inspection  # noqa: PLC0415 - numpy is slow

    address = inspection.parse_address(word)
    if address is None:
        raise UsageError(
            f"{word!r} is no address",
            hint=f"0x7f..., or `liveheap paths {word}` for the objects of a type",
        )
    graph = graph_of(desk, place)
    with bar(desk.terminal) as progress:
        progress.update(f"looking at {address:#x}")
        node = inspection.node_at(graph, address)
        found = inspection.inspect(graph, node, filter_of(**kept), limit=limit)
    if as_json:
        desk.terminal.show_json(found.to_json())
    else:
        look = desk.terminal.look
        desk.terminal.show(retained.object_lines(found.to_json(), look=look))
    say_if_truncated(desk, graph)
    return 0


VERB = Verb(
    name="object",
    help=_HELP,
    perform=perform,
    params=(
        click.Argument(["word"], metavar="ADDRESS"),
        number_option("--limit", 20, 100_000, "Show this many references each way."),
        *filter_options(),
        json_option(),
    ),
    target_params=(place_argument("[TARGET|FILE]"),),
    shell_params=(place_argument("[FILE]"),),
)
