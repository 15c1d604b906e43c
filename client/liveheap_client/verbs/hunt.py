"""What `diff` and `leaks` share: rounds from a live worker, rounds from files.

A worker that ends between two rounds does not end the hunt: where another takes its
place, as after so many tasks or requests, that one is asked on (succession.py); else
what the rounds so far tell is told, with a note. A Ctrl-C does end it; the rounds that
were to be kept are named.
"""

import contextlib
import os
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from liveheap_client.analysis.sentence import Places
from liveheap_client.commands.fetch import SUFFIX
from liveheap_client.commands.rounds import Round, Watch, iter_rounds, round_path
from liveheap_client.desk import Desk
from liveheap_client.errors import ConnectError, UsageError, WorkerGone
from liveheap_client.progress import Bar, bar
from liveheap_client.render import growth as growth_text
from liveheap_client.render.units import human_seconds
from liveheap_client.verbs.load import load, series
from liveheap_client.verbs.order import in_order
from liveheap_client.verbs.places import NAMES_A_WORKER, begins_as_snapshot, is_snapshot
from liveheap_client.verbs.snapshot import changed_options, teller
from liveheap_client.verbs.succession import Succession

if TYPE_CHECKING:
    from liveheap_client.analysis.growth import Series

LONGEST_WAIT_FOR_HEIR_S = 15.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a person asked for; None where they said nothing."""

    verb: str
    places: Sequence[str]
    live: Mapping[str, object]
    args: dict[str, Any]
    takes_many: bool = False
    """Whether several places may be targets."""

    def files(self) -> list[Path]:
        """Return the snapshot files; none if a worker is to be asked.

        Raises:
            UsageError: the words cannot be meant together.
        """
        files = [place for place in self.places if is_snapshot(place)]
        if files and len(files) == len(self.places):
            self._refuse_strange_file(files)
            self._refuse_live_options()
            return [Path(file) for file in files]
        if files or (len(self.places) > 1 and not self.takes_many):
            other = next(place for place in self.places if place not in files)
            raise UsageError(
                f"{self.verb} takes one target, or two and more snapshot files; "
                f"{other!r} is none",
                hint=f"liveheap {self.verb} A.liveheap B.liveheap",
            )
        return []

    @property
    def target(self) -> str | None:
        """Return the worker to ask."""
        return self.places[0] if self.places else None

    def _refuse_strange_file(self, files: Sequence[str]) -> None:
        """Raise UsageError for `leaks app.py`: that is the program, not its worker."""
        (first, *others) = files
        strange = not first.endswith(SUFFIX) and not begins_as_snapshot(first)
        if not others and strange and os.path.isfile(first):
            raise UsageError(f"{first} is a file, but no snapshot", hint=NAMES_A_WORKER)

    def _refuse_live_options(self) -> None:
        """Raise UsageError if options that only a live worker heeds came with files."""
        names = [name for name, value in self.live.items() if value is not None]
        names = names or changed_options(self.args)
        if names:
            raise UsageError(
                f"{', '.join(names)}: for a live worker only, not for files",
                hint=f"liveheap {self.verb} --help",
            )


@dataclass(frozen=True, slots=True)
class Taken:
    """Rounds, and what the next command may name of them."""

    series: "Series"
    places: Places


def compare(desk: Desk, paths: Sequence[Path], *, verb: str) -> "Taken":
    """Read snapshot files as rounds; those of one worker in the order of time."""
    if len(paths) < 2:
        raise UsageError(
            "a comparison needs two snapshots",
            hint=f"liveheap {verb} A.liveheap B.liveheap, or liveheap {verb} TARGET",
        )
    paths = in_order(desk, paths)
    with bar(desk.terminal) as progress:
        found = series()
        for path in paths:
            progress.update(f"reading {path.name}", done=len(found), total=len(paths))
            found.add(load(path))
    return Taken(found, Places("TARGET", str(paths[-1]), None))


def refuse_kept_round(path: Path) -> None:
    """Raise UsageError if an earlier hunt kept a round there."""
    if os.path.lexists(path):
        raise UsageError(
            f"{path} exists already",
            hint=f"--keep names a new directory; liveheap leaks {path.parent}/round-*"
            " reads the old rounds",
        )


@dataclass(frozen=True, slots=True)
class _Chase:
    """What stays the same in a hunt, whoever answers."""

    directory: Path
    progress: Bar
    found: "Series"
    line: Succession
    args: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Hunt:
    """The rounds of one live hunt, shown as they come."""

    desk: Desk
    interval_s: float
    rounds: int
    talk_only: bool
    """Rounds are no result: a program reads that, and so does who wants one screen."""

    def run(self, target: str | None, keep: Path | None, args: dict[str, Any]) -> Taken:
        """Take all rounds, of the worker and of whoever takes its place."""
        if keep is not None:
            for number in range(1, self.rounds + 1):
                refuse_kept_round(round_path(keep, number))
        found = series()
        asked: str | None = target or ""
        with (
            self.desk.scratch(keep) as directory,
            bar(self.desk.terminal) as progress,
        ):
            line = Succession(os.environ)
            chase = _Chase(directory, progress, found, line, args)
            while len(found) < self.rounds:
                try:
                    self._follow(target, chase)
                except KeyboardInterrupt:
                    self.say_what_is_kept(keep)
                    raise
                except (WorkerGone, ConnectError) as gone:
                    target = None if self.desk.in_shell else self._heir(chase)
                    asked = target
                    if target is None and len(found) < 2:
                        raise
                    if target is None:
                        found.note(f"the worker ended before round {len(found) + 1}")
                        self.desk.terminal.say(f"note: {gone}")
                        break
                    found.note(f"from round {len(found) + 1} on: {line.told}")
        kept = None if keep is None else f"{shlex.quote(str(keep))}/round-*{SUFFIX}"
        newest = None if keep is None else str(round_path(keep, len(found)))
        return Taken(found, Places(asked, newest, kept, self.desk.in_shell))

    def _follow(self, target: str | None, chase: _Chase) -> None:
        """Take the rounds that are left, as long as one process answers."""
        with self.desk.caller(target) as caller:
            rounds = iter_rounds(
                caller,
                chase.directory,
                interval_s=self.interval_s,
                numbers=range(len(chase.found) + 1, self.rounds + 1),
                args=chase.args,
                watch=self._watch(chase.progress, chase.found),
            )
            with contextlib.closing(rounds):
                self._take(rounds, chase)

    def _heir(self, chase: _Chase) -> str | None:
        """Return the worker that takes over, as a target; wait a moment for it."""
        chase.progress.update("the worker ended; waiting for another in its place")
        heir = chase.line.heir(min(self.interval_s, LONGEST_WAIT_FOR_HEIR_S))
        if heir is None:
            return None
        with chase.progress.aside():
            self.desk.terminal.say(f"note: {chase.line.told}; going on with it")
        return str(heir)

    def say_what_is_kept(self, keep: Path | None) -> None:
        """Name the rounds that outlive a Ctrl-C: they may have taken hours."""
        if keep is None:
            return
        numbers = range(1, self.rounds + 1)
        kept = [path for n in numbers if (path := round_path(keep, n)).exists()]
        if len(kept) == 1:
            self.desk.terminal.say(f"note: round 1 is kept: {kept[0]}")
        elif kept:
            again = f"liveheap leaks {shlex.quote(str(keep))}/round-*{SUFFIX}"
            self.desk.terminal.say(f"note: {len(kept)} rounds are kept: {again}")

    def _take(self, rounds: Iterable[Round], chase: _Chase) -> None:
        for taken in rounds:
            chase.line.saw(taken.header)
            with chase.progress.aside():
                self._show_round(taken)
            chase.progress.update(f"reading round {taken.number}")
            chase.found.add(load(taken.path))
            self.desk.newest = taken.path

    def _watch(self, progress: Bar, found: "Series") -> Watch:
        def wait(waited_s: float, interval_s: float) -> None:
            left = human_seconds(max(round(interval_s - waited_s), 1))
            title = f"round {len(found) + 1} of {self.rounds} in {left}"
            progress.update(title, done=waited_s, total=interval_s)

        def complain(trouble: str) -> None:
            with progress.aside():
                self.desk.terminal.say(trouble)

        return Watch(
            on_fetch=teller(progress),
            on_wait=wait,
            on_trouble=complain,
        )

    def _show_round(self, taken: Round) -> None:
        line = growth_text.round_line(
            taken.number,
            self.rounds,
            clock=time.strftime("%H:%M:%S", time.localtime(taken.taken)),
            header=taken.header,
            trailer=taken.trailer,
        )
        if self.talk_only:
            self.desk.terminal.say(line)
        else:
            self.desk.terminal.show([line])
