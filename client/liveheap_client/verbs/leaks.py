"""`leaks`: the guided hunt. Rounds, then one screen with a verdict on top."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from liveheap_client.commands.rounds import seconds
from liveheap_client.desk import Desk
from liveheap_client.render import leaks as leaks_text
from liveheap_client.verbs.base import Count, Verb, json_option, places_argument
from liveheap_client.verbs.hunt import Hunt, Plan, compare
from liveheap_client.verbs.snapshot import ROUND_OPTIONS

DEFAULT_INTERVAL = "20"
DEFAULT_ROUNDS = 5
_HELP = """Say whether a worker leaks, what, and who holds it.

Takes five snapshots, 20 s apart, or reads snapshot files, oldest first; then says in
one sentence what grows: Python objects and their holder, references that C code never
gives back, descriptors, memory outside the Python heap, or nothing. The worker stops in
each round as long as one fork takes, some milliseconds.
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
    """Take the rounds, or read them; show one screen."""
    live = {"--interval": interval, "--rounds": rounds, "--keep": keep}
    plan = Plan("leaks", places, live, args)
    files = plan.files()
    if files:
        found = compare(desk, files, verb="leaks")
    else:
        hunt = Hunt(
            desk,
            interval_s=seconds(interval or DEFAULT_INTERVAL),
            rounds=DEFAULT_ROUNDS if rounds is None else rounds,
            talk_only=True,
        )
        found = hunt.run(plan.target, None if keep is None else Path(keep), args)
    report = found.report().to_json(**plan.words(desk.newest if keep else None))
    desk.names.update(str(row["type"]) for row in report["types"])
    if as_json:
        desk.terminal.show_json(report)
    else:
        desk.terminal.show(leaks_text.lines(report, look=desk.terminal.look))
    return 0


VERB = Verb(
    name="leaks",
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
