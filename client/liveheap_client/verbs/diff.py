"""`diff`: what grows, from a live worker over rounds, or from snapshot files."""

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from liveheap_client.commands.fetch import refuse_overwrite
from liveheap_client.commands.rounds import (
    Round,
    Watch,
    iter_rounds,
    round_path,
    seconds,
)
from liveheap_client.desk import Desk, is_snapshot
from liveheap_client.errors import UsageError
from liveheap_client.progress import Bar, bar
from liveheap_client.render import growth as growth_text
from liveheap_client.render.units import human_seconds
from liveheap_client.verbs.base import Verb, json_option, places_argument
from liveheap_client.verbs.load import load, series
from liveheap_client.verbs.snapshot import SNAPSHOT_OPTIONS, teller

if TYPE_CHECKING:
    from liveheap_client.analysis.growth import Series

DEFAULT_INTERVAL = "60"
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
    rounds: int,
    keep: str | None,
    as_json: bool,
    **args: Any,
) -> int:
    """Compare files, or hunt."""
    files = [place for place in places if is_snapshot(place)]
    if files and len(files) == len(places):
        if interval is not None or keep is not None:
            raise UsageError("--interval and --keep are for a live worker, not files")
        return compare(desk, [Path(file) for file in files], as_json=as_json)
    if files or len(places) > 1:
        raise UsageError(
            "diff takes one target, or two and more snapshot files",
            hint="liveheap diff A.liveheap B.liveheap",
        )
    span = seconds(interval or DEFAULT_INTERVAL)
    target = places[0] if places else None
    hunt = Hunt(desk, interval_s=span, rounds=rounds, as_json=as_json)
    return hunt.run(target, None if keep is None else Path(keep), args)


def compare(desk: Desk, paths: Sequence[Path], *, as_json: bool) -> int:
    """Compare snapshot files."""
    if len(paths) < 2:
        raise UsageError("a comparison needs two snapshots", hint="or a live worker")
    with bar(desk.terminal) as progress:
        found = series()
        for path in paths:
            progress.update(f"reading {path.name}", done=len(found), total=len(paths))
            found.add(load(path))
    return conclude(desk, found, as_json=as_json)


class Hunt:
    """The rounds of one live diff, shown as they come."""

    def __init__(
        self, desk: Desk, *, interval_s: float, rounds: int, as_json: bool
    ) -> None:
        self._desk = desk
        self._interval_s = interval_s
        self._rounds = rounds
        self._as_json = as_json

    def run(self, target: str | None, keep: Path | None, args: dict[str, Any]) -> int:
        """Take all rounds and show what grew."""
        if keep is not None:
            for number in range(1, self._rounds + 1):
                refuse_overwrite(round_path(keep, number))
        with (
            self._desk.caller(target) as caller,
            self._desk.scratch(keep) as directory,
        ):
            found = series()
            with bar(self._desk.terminal) as progress:
                rounds = iter_rounds(
                    caller,
                    directory,
                    interval_s=self._interval_s,
                    rounds=self._rounds,
                    args=args,
                    watch=self._watch(progress, found),
                )
                with contextlib.closing(rounds):
                    for taken in rounds:
                        with progress.aside():
                            self._show_round(taken)
                        progress.update(f"reading round {taken.number}")
                        found.add(load(taken.path))
                        self._desk.newest = taken.path
        return conclude(self._desk, found, as_json=self._as_json)

    def _watch(self, progress: Bar, found: "Series") -> Watch:
        def wait(waited_s: float, interval_s: float) -> None:
            left = human_seconds(max(round(interval_s - waited_s), 1))
            title = f"round {len(found) + 1} of {self._rounds} in {left}"
            progress.update(title, done=waited_s, total=interval_s)

        def complain(trouble: str) -> None:
            with progress.aside():
                self._desk.terminal.say(trouble)

        return Watch(
            on_fetch=teller(progress),
            on_wait=wait,
            on_trouble=complain,
        )

    def _show_round(self, taken: Round) -> None:
        line = growth_text.round_line(
            taken.number,
            self._rounds,
            clock=time.strftime("%H:%M:%S", time.localtime(taken.taken)),
            header=taken.header,
            trailer=taken.trailer,
        )
        if self._as_json:
            self._desk.terminal.say(line)
        else:
            self._desk.terminal.show([line])


def conclude(desk: Desk, found: "Series", *, as_json: bool) -> int:
    """Show what the rounds tell."""
    report = found.report().to_json()
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
            type=click.IntRange(2, 100),
            default=2,
            show_default=True,
            metavar="N",
            help="Snapshots to take.",
        ),
        click.Option(
            ["--keep", "--save"], metavar="DIR", help="Keep the rounds' files here."
        ),
        *SNAPSHOT_OPTIONS,
        json_option(),
    ),
    target_params=(places_argument("[TARGET|FILE...]"),),
    shell_params=(places_argument("[FILE...]"),),
)
