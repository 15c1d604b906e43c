"""`backrefs TYPE`: who refers to the objects of a type, up to the roots."""

from pathlib import Path
from typing import Any

import click

from liveheap import __version__
from liveheap_client.desk import Desk
from liveheap_client.errors import UsageError
from liveheap_client.progress import bar
from liveheap_client.render import backrefs as backrefs_text
from liveheap_client.verbs.base import Count, Verb, json_option, place_argument
from liveheap_client.verbs.load import graph_of
from liveheap_client.verbs.output import refuse, write
from liveheap_client.verbs.places import is_snapshot

_HELP = """Show who refers to the objects of a type, merged, up to the roots.

Reads a snapshot file, or takes a snapshot of TARGET first, which stops the worker as
long as one fork takes. In a shell the newest snapshot is used.
"""


def perform(
    desk: Desk,
    *,
    type_name: str,
    place: str | None,
    depth: int,
    limit: int,
    dot: bool,
    svg: str | None,
    html: str | None,
    force_overwrite: bool,
    as_json: bool,
) -> int:
    """Find the graph, build the tree, show it."""
    from liveheap_client.analysis import backrefs  # noqa: PLC0415 - numpy is slow

    if dot and as_json:
        raise UsageError("--dot and --json exclude each other", hint="one of the two")
    for option, name in (("--svg", svg), ("--html", html)):
        if name is not None:
            refuse(Path(name), option=option, replace=force_overwrite)
    if is_snapshot(type_name):
        raise UsageError(
            f"the type comes first; {type_name!r} is a snapshot file",
            hint=f"liveheap backrefs TYPE {type_name}",
        )
    graph = graph_of(desk, place)
    with bar(desk.terminal) as progress:
        progress.update(f"looking for what refers to {type_name}")
        tree = backrefs.tree(graph, type_name, depth=depth, limit=limit)
    data = tree.to_json()
    _draw(data, svg, html)
    if dot:
        desk.terminal.show(tree.to_dot().splitlines())
    elif as_json:
        desk.terminal.show_json(data)
    elif svg is None and html is None:
        desk.terminal.show(backrefs_text.lines(data, look=desk.terminal.look))
    else:
        desk.terminal.show(name for name in (svg, html) if name is not None)
    return 0


def _draw(data: dict[str, Any], svg: str | None, html: str | None) -> None:
    """Write the pictures that were asked for."""
    if svg is not None:
        from liveheap_client.report.picture import picture  # noqa: PLC0415 - rarely

        write(Path(svg), f"{picture(data, alone=True)}\n", option="--svg")
    if html is not None:
        from liveheap_client.report.backrefs import backrefs_page  # noqa: PLC0415

        page = backrefs_page(data, tool=f"liveheap {__version__}")
        write(Path(html), page, option="--html")


VERB = Verb(
    name="backrefs",
    help=_HELP,
    perform=perform,
    params=(
        click.Argument(["type_name"], metavar="TYPE"),
        click.Option(
            ["--depth"],
            type=Count(1, 100),
            default=8,
            show_default=True,
            metavar="N",
            help="Go this many references up.",
        ),
        click.Option(
            ["--limit"],
            type=Count(1, 1000),
            default=10,
            show_default=True,
            metavar="N",
            help="Show this many referrers of each node.",
        ),
        click.Option(["--dot"], is_flag=True, help="Print Graphviz source."),
        click.Option(["--svg"], metavar="FILE", help="Draw the tree into this file."),
        click.Option(["--html"], metavar="FILE", help="The same, as a page."),
        click.Option(
            ["--force-overwrite"], is_flag=True, help="Replace files of these names."
        ),
        json_option(),
    ),
    target_params=(place_argument("[TARGET|FILE]"),),
    shell_params=(place_argument("[FILE]"),),
)
