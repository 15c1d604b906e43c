"""What `diff` and `leaks` share: rounds from a live worker, rounds from files.

A worker that ends between two rounds does not end the hunt of those that were taken:
what they tell is still told, with a note. So it is where another worker answers in its
place. A Ctrl-C does end it; the rounds that were to be kept are named.
"""

import contextlib
import os
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from liveheap_client.commands.fetch import SUFFIX
from liveheap_client.commands.rounds import Round, Watch, iter_rounds, round_path
from liveheap_client.desk import Desk
from liveheap_client.errors import ConnectError, UsageError, WorkerGone
from liveheap_client.progress import Bar, bar
from liveheap_client.render import growth as growth_text
from liveheap_client.render.units import human_seconds
from liveheap_client.verbs.load import load, series
from liveheap_client.verbs.places import NAMES_A_WORKER, begins_as_snapshot, is_snapshot
from liveheap_client.verbs.snapshot import changed_options, teller

if TYPE_CHECKING:
    from liveheap_client.analysis.growth import Series


@dataclass(frozen=True, slots=True)
class Plan:
    """What a person asked for; None where they said nothing."""

    verb: str
    places: Sequence[str]
    live: Mapping[str, object]
    args: dict[str, Any]

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
        if files or len(self.places) > 1:
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

    def words(self, kept: Path | None) -> dict[str, str]:
        """Return what the next command calls the newest round and the worker."""
        target = self.target or "TARGET"
        if self.target is not None and is_snapshot(self.target):
            return {"newest": str(self.places[-1]), "target": "TARGET"}
        return {"newest": target if kept is None else str(kept), "target": target}

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


def compare(desk: Desk, paths: Sequence[Path], *, verb: str) -> "Series":
    """Read snapshot files as rounds, oldest first."""
    if len(paths) < 2:
        raise UsageError(
            "a comparison needs two snapshots",
            hint=f"liveheap {verb} A.liveheap B.liveheap, or liveheap {verb} TARGET",
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
    say_if_out_of_order(desk, created)
    return found


def say_if_out_of_order(desk: Desk, created: Sequence[float]) -> None:
    """Say so if files were given in another order than they were taken in."""
    if list(created) != sorted(created):
        desk.terminal.say("note: give the oldest first; these are in another order")


def refuse_kept_round(path: Path) -> None:
    """Raise UsageError if an earlier hunt kept a round there."""
    if os.path.lexists(path):
        raise UsageError(
            f"{path} exists already",
            hint=f"--keep names a new directory; liveheap leaks {path.parent}/round-*"
            " reads the old rounds",
        )


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


@dataclass(frozen=True, slots=True)
class Hunt:
    """The rounds of one live hunt, shown as they come."""

    desk: Desk
    interval_s: float
    rounds: int
    talk_only: bool
    """Rounds are no result: a program reads that, and so does who wants one screen."""

    def run(
        self, target: str | None, keep: Path | None, args: dict[str, Any]
    ) -> "Series":
        """Take all rounds."""
        if keep is not None:
            for number in range(1, self.rounds + 1):
                refuse_kept_round(round_path(keep, number))
        with (
            self.desk.caller(target) as caller,
            self.desk.scratch(keep) as directory,
        ):
            found = series()
            with bar(self.desk.terminal) as progress:
                rounds = iter_rounds(
                    caller,
                    directory,
                    interval_s=self.interval_s,
                    rounds=self.rounds,
                    args=args,
                    watch=self._watch(progress, found),
                )
                with contextlib.closing(rounds):
                    try:
                        self._take(rounds, progress, found)
                    except KeyboardInterrupt:
                        self.say_what_is_kept(keep)
                        raise
                    except (WorkerGone, ConnectError) as gone:
                        if len(found) < 2:
                            raise
                        found.note(f"the worker ended before round {len(found) + 1}")
                        self.desk.terminal.say(f"note: {gone}")
        return found

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

    def _take(self, rounds: Iterable[Round], progress: Bar, found: "Series") -> None:
        for taken in rounds:
            with progress.aside():
                self._show_round(taken)
            progress.update(f"reading round {taken.number}")
            found.add(load(taken.path))
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
