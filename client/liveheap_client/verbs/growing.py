"""`diff` and `leaks` as verbs: the same words, rounds and report, shown differently.

What tells one from the other is a `Growing`: how many rounds it takes unless told, how
far apart, and what it makes of the report. hunt.py takes the rounds.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click

from liveheap_client.commands.rounds import seconds
from liveheap_client.desk import Desk
from liveheap_client.render import kinship as kinship_text
from liveheap_client.verbs.base import Count, Verb, json_option, places_argument
from liveheap_client.verbs.choosing import choose
from liveheap_client.verbs.fleet import Fleet, members_of
from liveheap_client.verbs.hunt import Hunt, Plan, compare
from liveheap_client.verbs.snapshot import ROUND_OPTIONS


@dataclass(frozen=True, slots=True)
class Growing:
    """A question about growth over rounds; `one_screen` keeps live rounds off it."""

    name: str
    help: str
    interval: str
    rounds: int
    lines: Callable[..., Iterator[str]]
    one_screen: bool


def growing_verb(question: Growing) -> Verb:
    """Return the verb that asks a question."""
    return Verb(
        name=question.name,
        help=question.help,
        perform=partial(_perform, question),
        params=(
            click.Option(
                ["--interval"],
                metavar="SPAN",
                help="Between two rounds: 600, 30s, 10m. "
                f"[default: {question.interval}]",
            ),
            click.Option(
                ["--rounds"],
                type=Count(2, 100),
                metavar="N",
                help=f"Snapshots to take.  [default: {question.rounds}]",
            ),
            click.Option(
                ["--keep", "--save"], metavar="DIR", help="Keep the rounds' files here."
            ),
            *ROUND_OPTIONS,
            json_option(),
        ),
        target_params=(
            places_argument("[TARGET|FILE...]"),
            click.Option(
                ["every", "--all"],
                is_flag=True,
                help="Ask all workers of a tree (PID), of a NAME or of a HOST.",
            ),
        ),
        shell_params=(places_argument("[FILE...]"),),
    )


def _perform(
    question: Growing,
    desk: Desk,
    *,
    places: Sequence[str],
    interval: str | None,
    rounds: int | None,
    keep: str | None,
    as_json: bool,
    every: bool = False,
    **args: Any,
) -> int:
    """Take the rounds, or read them; show what they tell."""
    live = {"--interval": interval, "--rounds": rounds, "--keep": keep}
    plan = Plan(question.name, places, {**live, "--all": every or None}, args)
    files = plan.files()
    if every:
        fleet = Fleet(
            desk,
            interval_s=seconds(interval or question.interval),
            rounds=question.rounds if rounds is None else rounds,
        )
        return _ask_all(fleet, plan, None if keep is None else Path(keep), as_json)
    if files:
        found = compare(desk, files, verb=question.name)
    else:
        hunt = Hunt(
            desk,
            interval_s=seconds(interval or question.interval),
            rounds=question.rounds if rounds is None else rounds,
            talk_only=as_json or question.one_screen,
        )
        found = hunt.run(plan.target, None if keep is None else Path(keep), args)
    report = found.series.report().to_json(found.places)
    desk.names.update(str(row["type"]) for row in report["types"])
    if as_json:
        desk.terminal.show_json(report)
    else:
        desk.terminal.show(question.lines(report, look=desk.terminal.look))
    return 0


def _ask_all(fleet: Fleet, plan: Plan, keep: Path | None, as_json: bool) -> int:
    """Take the rounds of many workers; show what they have in common."""
    chosen = choose(plan.target, fleet.desk.options)
    members = members_of(chosen.rows, chosen.target_of)
    found = fleet.run(members, keep, plan.args)
    terminal = fleet.desk.terminal
    if as_json:
        terminal.show_json(found)
    else:
        terminal.show(kinship_text.lines(found, look=terminal.look))
    return 0
