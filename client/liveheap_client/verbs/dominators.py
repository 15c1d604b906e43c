"""`dominators`: what retains the heap, as a tree."""

from typing import Any

from liveheap_client.desk import Desk
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

_HELP = f"""Show what retains the heap: a tree of dominators with retained sizes.

What hangs below a line is kept alive by it alone: were it gone, that would go too.
Objects held alike are one line. What two holders share hangs below neither of them.
Lines under half a percent of the heap are left out; --min-size 0 shows all.

{LIVE_HELP}
"""


def perform(
    desk: Desk,
    *,
    place: str | None,
    depth: int,
    width: int,
    as_json: bool,
    **kept: Any,
) -> int:
    """Build the tree, show it."""
    from liveheap_client.analysis import dominatortree  # noqa: PLC0415 - numpy is slow
    from liveheap_client.analysis.paths import PathNodes  # noqa: PLC0415 - the same

    graph = graph_of(desk, place)
    with bar(desk.terminal) as progress:
        progress.update("finding what retains what")
        paths = PathNodes.of(graph)
        tree = dominatortree.tree(paths, filter_of(**kept), depth=depth, width=width)
        points = dominatortree.accumulation_points(paths)
    found = {
        "tree": tree.to_json(),
        "accumulation_points": [point.to_json() for point in points],
    }
    if as_json:
        desk.terminal.show_json(found)
    else:
        desk.terminal.show(retained.tree_lines(found, look=desk.terminal.look))
    say_if_truncated(desk, graph)
    return 0


VERB = Verb(
    name="dominators",
    help=_HELP,
    perform=perform,
    params=(
        number_option("--depth", 5, 100, "Go this many dominators down."),
        number_option("--width", 8, 1000, "Show this many kinds below each line."),
        *filter_options(),
        json_option(),
    ),
    target_params=(place_argument("[TARGET|FILE]"),),
    shell_params=(place_argument("[FILE]"),),
)
