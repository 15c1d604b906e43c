"""`diff`: what grows, from a live worker over rounds, or from snapshot files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from liveheap_client.commands.rounds import seconds
from liveheap_client.desk import Desk
from liveheap_client.render import growth as growth_text
from liveheap_client.verbs.base import Count, Verb, json_option, places_argument
from liveheap_client.verbs.hunt import Hunt, Plan, compare
from liveheap_client.verbs.snapshot import ROUND_OPTIONS

DEFAULT_INTERVAL = "60"
DEFAULT_ROUNDS = 2
_HELP = """Name what grows, and the path that holds it.

Takes a snapshot in every round, or compares snapshot files, oldest first. Objects
are compared by the path that holds them, never by address. Two rounds are a
comparison; a verdict needs four. The worker stops in each round as long as one fork
takes, some milliseconds.
"""


def perform(
    desk: Desk,
    *,
    places: Sequence[str],
    interval: str | None,
    rounds: int | None,
    keep: str | None,
    as_json: bool,
    **args: Any,
) -> int:
    """Compare files, or hunt."""
    live = {"--interval": interval, "--rounds": rounds, "--keep": keep}
    plan = Plan("diff", places, live, args)
    files = plan.files()
    if files:
        found = compare(desk, files, verb="diff")
    else:
        hunt = Hunt(
            desk,
            interval_s=seconds(interval or DEFAULT_INTERVAL),
            rounds=DEFAULT_ROUNDS if rounds is None else rounds,
            talk_only=as_json,
        )
        found = hunt.run(plan.target, None if keep is None else Path(keep), args)
    report = found.report().to_json(**plan.words(desk.newest if keep else None))
    desk.names.update(str(row["type"]) for row in report["types"])
    if as_json:
        desk.terminal.show_json(report)
    else:
        desk.terminal.show(growth_text.lines(report, look=desk.terminal.look))
    return 0


VERB = Verb(
    name="diff",
    help=_HELP,
    perform=perform,
    params=(
        click.Option(
            ["--interval"],
            metavar="SPAN",
            help=f"Between two rounds: 600, 30s, 10m. [default: {DEFAULT_INTERVAL}]",
        ),
        click.Option(
            ["--rounds"],
            type=Count(2, 100),
            metavar="N",
            help=f"Snapshots to take.  [default: {DEFAULT_ROUNDS}]",
        ),
        click.Option(
            ["--keep", "--save"], metavar="DIR", help="Keep the rounds' files here."
        ),
        *ROUND_OPTIONS,
        json_option(),
    ),
    target_params=(places_argument("[TARGET|FILE...]"),),
    shell_params=(places_argument("[FILE...]"),),
)
