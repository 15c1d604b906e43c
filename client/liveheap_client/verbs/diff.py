"""`diff`: what grows, from a live worker over rounds, or from snapshot files."""

import contextlib
import time
from collections.abc import Mapping, Sequence
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
from liveheap_client.desk import Desk
from liveheap_client.errors import UsageError
from liveheap_client.progress import Bar, bar
from liveheap_client.render import growth as growth_text
from liveheap_client.render.units import human_seconds
from liveheap_client.verbs.base import Verb, json_option, places_argument
from liveheap_client.verbs.load import load, series
from liveheap_client.verbs.places import is_snapshot
from liveheap_client.verbs.snapshot import SNAPSHOT_OPTIONS, changed_options, teller

if TYPE_CHECKING:
    from liveheap_client.analysis.growth import Series

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
    files = [place for place in places if is_snapshot(place)]
    if files and len(files) == len(places):
        live = {"--interval": interval, "--rounds": rounds, "--keep": keep}
        refuse_live_options([name for name, value in live.items() if value is not None])
        refuse_live_options(changed_options(args))
        return compare(desk, [Path(file) for file in files], as_json=as_json)
    if files or len(places) > 1:
        other = next(place for place in places if place not in files)
        raise UsageError(
            f"diff takes one target, or two and more snapshot files; {other!r} is none",
            hint="liveheap diff A.liveheap B.liveheap",
        )
    span = seconds(interval or DEFAULT_INTERVAL)
    target = places[0] if places else None
    count = DEFAULT_ROUNDS if rounds is None else rounds
    hunt = Hunt(desk, interval_s=span, rounds=count, as_json=as_json)
    return hunt.run(target, None if keep is None else Path(keep), args)


def compare(desk: Desk, paths: Sequence[Path], *, as_json: bool) -> int:
    """Compare snapshot files."""
    if len(paths) < 2:
        raise UsageError(
            "a comparison needs two snapshots",
            hint="liveheap diff A.liveheap B.liveheap, or liveheap diff TARGET",
        )
    refuse_same_file(paths)
    created: list[float] = []
    with bar(desk.terminal) as progress:
        found = series()
        for path in paths:
            progress.update(f"reading {path.name}", done=len(found), total=len(paths))
            graph = load(path)
            created.append(moment(graph.header))
            found.add(graph)
            del graph  # or it would stay while the next one is read
    if created != sorted(created):
        desk.terminal.say("note: give the oldest first; these are in another order")
    return conclude(desk, found, as_json=as_json)


def moment(header: Mapping[str, Any]) -> float:
    """Return when a snapshot was taken; 0 if it does not say."""
    created = header.get("created")
    return created if isinstance(created, int | float) else 0


def refuse_same_file(paths: Sequence[Path]) -> None:
    """Raise UsageError if a file is given twice: it would never show growth."""
    known: dict[tuple[int, int], Path] = {}
    for path in paths:
        with contextlib.suppress(OSError):
            found = path.stat()
            if (found.st_dev, found.st_ino) in known:
                raise UsageError(
                    f"{path} is given twice", hint="a comparison needs two snapshots"
                )
            known[found.st_dev, found.st_ino] = path


def refuse_live_options(names: Sequence[str]) -> None:
    """Raise UsageError if options that only a live worker heeds came with files."""
    if names:
        raise UsageError(
            f"{', '.join(names)}: for a live worker only, not for files",
            hint="liveheap diff --help",
        )


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
            metavar="N",
            help=f"Snapshots to take.  [default: {DEFAULT_ROUNDS}]",
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
