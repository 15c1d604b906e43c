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
from liveheap_client.errors import OK, exit_code
from liveheap_client.progress import bar
from liveheap_client.render import kinship as kinship_text
from liveheap_client.verbs.base import Count, Verb, json_option, places_argument
from liveheap_client.verbs.choosing import choose, choose_of_several
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
                help="Ask all workers of a tree (PID), of a NAME, of HOSTs.",
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
    said = {**live, "--all": every or None}
    plan = Plan(question.name, places, said, args, takes_many=every)
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
    terminal, options = fleet.desk.terminal, fleet.desk.options
    if len(plan.places) > 1:
        with bar(terminal) as progress:
            title = f"asking {len(plan.places)} hosts which workers they have"
            progress.update(title, done=0, total=len(plan.places))
            chosen = choose_of_several(
                plan.places,
                options,
                on_answer=lambda count: progress.update(
                    title, done=count, total=len(plan.places)
                ),
            )
    else:
        chosen = choose(plan.target, options)
    found = fleet.run(members_of(chosen), keep, plan.args)
    if as_json:
        terminal.show_json(found)
    else:
        terminal.show(kinship_text.lines(found, look=terminal.look))
    errors = [answer.error for answer in chosen.failures if answer.error]
    return exit_code(errors[0]) if errors else OK
