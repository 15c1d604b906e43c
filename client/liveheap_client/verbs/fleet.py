"""`leaks --all` and `diff --all`: the rounds of many workers, one of a host at a time.

Two snapshots at once would need twice the memory that one is admitted with, on a host
where all workers fork alike. So there is one at a time, and the workers' turns are
spread over the interval: each stops at moments of its own, and the machine has always
the same to do. Where the snapshots of all take longer than the interval, rounds come
later, and all of them do. Hosts share nothing, so theirs go side by side; but what came
is read by one at a time, for it is this machine's memory that holds it then.

A worker that ends or says no is told as such and keeps nobody else from being judged;
where another took its place, that one is asked on.
A snapshot is read as soon as it is there and its file goes, unless it is to be kept: a
fleet of rounds would fill a disk.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING, Any

from liveheap.errors import LiveheapError
from liveheap_client import abreast, workers
from liveheap_client import target as targets
from liveheap_client.analysis.sentence import Places
from liveheap_client.caller import Caller
from liveheap_client.commands.rounds import (
    Watch,
    round_path,
    take_round,
    wait_until,
)
from liveheap_client.desk import Desk
from liveheap_client.errors import ConnectError, TimedOut, UsageError, WorkerGone
from liveheap_client.progress import Bar, bar
from liveheap_client.render.units import human_seconds
from liveheap_client.verbs.choosing import Chosen
from liveheap_client.verbs.hunt import refuse_kept_round
from liveheap_client.verbs.load import load, series
from liveheap_client.verbs.snapshot import teller

if TYPE_CHECKING:
    from liveheap_client.analysis.growth import Series

Row = Mapping[str, Any]
ROUNDS_TO_COMPARE = 2
_FAMILY = ("ppid", "program", "kind")


@dataclass(slots=True)
class Member:
    """One worker of the fleet: what it told, and why it tells no more."""

    target: str
    row: Row
    found: "Series"
    failure: str | None = None
    gone: bool = False
    notes: list[str] = field(default_factory=list)
    caller: Caller | None = None
    seen: set[str] = field(default_factory=set)
    """The pids of this worker and of those that took its place."""

    name: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True)
class Fleet:
    """A hunt over many workers."""

    desk: Desk
    interval_s: float
    rounds: int

    def run(
        self, members: Sequence[Member], keep: Path | None, args: dict[str, Any]
    ) -> dict[str, Any]:
        """Take all rounds of all workers; return the comparison as plain data."""
        for member in members:
            member.caller = self._caller(member) if member.failure is None else None
        for member in members if keep is not None else ():
            for number in range(1, self.rounds + 1):
                refuse_kept_round(round_path(_directory(keep, member), number))
        self._say_what_comes(members)
        with (
            self.desk.scratch(keep) as directory,
            bar(self.desk.terminal) as progress,
        ):
            way, due = _Way(directory, keep, args, progress), time.monotonic()
            try:
                for number in range(1, self.rounds + 1):
                    due = self._round(number, due, members, way)
            finally:
                way.ended.set()
        return self._compared(members)

    def _round(
        self,
        number: int,
        due: float,
        members: Sequence[Member],
        way: "_Way",
    ) -> float:
        """Ask each worker in its turn; return when the next round begins."""
        started = time.monotonic()
        hosts: dict[str, list[tuple[int, Member]]] = {}
        for place, member in enumerate(members):
            hosts.setdefault(member.host, []).append((place, member))

        def ask(host: str) -> None:
            for place, member in hosts[host]:
                if way.ended.is_set() or not self._is_there(number, member, members):
                    continue
                title = f"round {number} of {self.rounds}, "
                title += f"worker {place + 1} of {len(members)}"
                watch = self._watch(way.progress, title, member)
                turn = due + place * self.interval_s / len(members)
                wait_until(turn, self.interval_s, watch)
                self._take(number, member, way, watch)

        if len(hosts) == 1:
            ask(*hosts)
        else:
            abreast.ask(list(hosts), ask)
        return max(due + self.interval_s, started + self.interval_s)

    def _is_there(self, number: int, member: Member, members: Sequence[Member]) -> bool:
        """Return whether a worker, or who took its place, can be asked."""
        if member.gone and not self._adopt(number, member, members):
            return False
        return member.failure is None and member.caller is not None

    def _caller(self, member: Member) -> Caller:
        """Return the way to a worker; to one of several hosts, without a prompt."""
        if not member.host:
            return self.desk.call(member.target)
        return Caller.to(targets.parse(member.target), self.desk.options.abreast())

    def _take(self, number: int, member: Member, way: "_Way", watch: Watch) -> None:
        """Take one worker's round and read it; what goes wrong is that worker's."""
        caller = member.caller
        assert caller is not None
        directory = _directory(way.directory, member)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            taken = take_round(
                *(caller, directory, number),
                args=way.args,
                watch=watch,
                stubbornly=False,
            )
            with way.reading:
                member.found.add(load(taken.path))
            if way.keep is None:
                taken.path.unlink()
        except (WorkerGone, ConnectError) as gone:
            self._lose(member, f"it ended before round {number} ({gone})")
        except TimedOut as silent:
            self._lose(member, f"it gave no answer in round {number} ({silent})")
        except LiveheapError as error:
            self._complain(way.progress, f"worker {member.name}: {error}")
            member.notes.append(f"no round {number}: {error}")
        finally:
            caller.hang_up()  # an ssh server carries ten sessions, not sixty

    def _adopt(self, number: int, member: Member, members: Sequence[Member]) -> bool:
        """Go on with who took a worker's place; False as long as nobody has.

        Servers recycle their workers, and what leaks in one leaks in the next. Told by
        the registry of this machine: same parent, program and kind, and not seen yet.
        """
        if not member.target.isdigit():
            return False
        here = {str(worker.pid): worker for worker in workers.local(os.environ)}
        heirs = [
            name
            for name, worker in here.items()
            if member.target not in here
            and not any(name in other.seen for other in members)
            and all(worker.fact(fact) == member.row.get(fact) for fact in _FAMILY)
        ]
        if not heirs:
            return False
        member.target = heirs[0]
        member.seen.add(heirs[0])
        member.caller = self.desk.call(heirs[0])
        member.gone, member.failure = False, None
        note = f"from round {number} on: {heirs[0]}, which took its place"
        member.notes[-1:] = [note]
        member.found.note(note)
        return True

    def _lose(self, member: Member, why: str) -> None:
        """Ask a worker no more; what it told is still told if that is enough."""
        member.gone = True
        member.notes.append(why)
        if len(member.found) < ROUNDS_TO_COMPARE:
            member.failure = why

    def _say_what_comes(self, members: Sequence[Member]) -> None:
        if not any(member.failure is None for member in members):
            raise ConnectError(
                f"none of {len(members)} workers answers: {members[0].failure}",
                hint="liveheap ps shows how they are",
            )
        lasts = human_seconds(self.interval_s * self.rounds)
        hosts = {member.host for member in members if member.row}
        alone = "one snapshot at a time"
        if len(hosts) > 1:
            alone = f"one snapshot at a time on each of {len(hosts)} hosts"
        count = sum(bool(member.row) for member in members)
        self.desk.terminal.say(
            f"{count} workers, {self.rounds} rounds, {alone}: {lasts}"
        )

    def _compared(self, members: Sequence[Member]) -> dict[str, Any]:
        """Return the ranking, the places and the failures."""
        from liveheap_client.analysis.kinship import kinship  # noqa: PLC0415 - numpy

        reports = {}
        for member in members:
            if len(member.found) >= ROUNDS_TO_COMPARE:
                places = Places(member.target, None, None)
                reports[member.name] = member.found.report().to_json(places)
            elif member.failure is None:
                member.failure = "; ".join(member.notes) or "too few rounds"
        told = asdict(kinship(reports)) if reports else _nothing(members)
        by_name = {member.name: member for member in members}
        rows = [
            _row(by_name[one["worker"]], one, reports[one["worker"]])
            for one in told["workers"]
        ]
        rows += [_row(m, {}, None) for m in members if m.failure is not None]
        first = by_name[rows[0]["worker"]] if told["leaks"] else None
        return {
            **told,
            "workers": rows,
            "next": f"liveheap leaks {first.target}" if first else None,
        }

    def _watch(self, progress: Bar, title: str, member: Member) -> Watch:
        def wait(waited_s: float, interval_s: float) -> None:
            left = human_seconds(max(round(interval_s - waited_s), 1))
            progress.update(f"{title} in {left}", done=waited_s, total=interval_s)

        return Watch(
            on_fetch=teller(progress, title),
            on_wait=wait,
            on_trouble=lambda trouble: self._complain(
                progress, f"worker {member.name}: {trouble}"
            ),
        )

    def _complain(self, progress: Bar, trouble: str) -> None:
        with progress.aside():
            self.desk.terminal.say(trouble)


@dataclass(frozen=True, slots=True)
class _Way:
    """Where the rounds go, and with which words they are asked for."""

    directory: Path
    keep: Path | None
    args: dict[str, Any]
    progress: Bar
    reading: Lock = field(default_factory=Lock)
    ended: Event = field(default_factory=Event)


def _directory(base: Path | None, member: Member) -> Path:
    assert base is not None
    return base / member.name


def _nothing(members: Sequence[Member]) -> dict[str, Any]:
    sentence = f"None of {len(members)} workers gave two rounds to compare."
    return {"sentence": sentence, "per": "hour", "workers": [], "leaks": []}


def _row(
    member: Member, standing: Mapping[str, Any], report: Row | None
) -> dict[str, Any]:
    """Return one worker as plain data."""
    return {
        "worker": member.name,
        "target": member.target,
        "program": member.row.get("name") or member.row.get("program"),
        "role": member.row.get("role") or member.row.get("kind"),
        "rss": member.row.get("rss"),
        "gained": None,
        "bytes_slope": None,
        "verdict": None,
        "leaks": [],
        **standing,
        "failure": member.failure,
        "notes": member.notes,
        "report": report,
    }


def members_of(chosen: Chosen) -> list[Member]:
    """Return a fleet of listed workers; who cannot answer fails at once."""
    found = []
    for row in chosen.rows:
        state = row.get("state")
        mute = {
            "stopped": "it is stopped",
            "silent": "it does not answer",
            "refused": "it does not let us in: liveheap doctor tells why",
        }
        target = chosen.target_of(row)
        member = Member(target, row, series(), mute.get(str(state)))
        member.name = target if chosen.is_of_several else str(row.get("pid"))
        if chosen.is_of_several:
            member.host = target.rpartition("/")[0] or targets.HERE
        member.seen.add(str(row.get("pid")))
        found.append(member)
    if not found:
        raise UsageError("no worker is meant", hint="liveheap ps lists them")
    for answer in chosen.failures:
        lost = Member(answer.host, {}, series(), answer.failure)
        lost.name = lost.host = answer.host
        found.append(lost)
    return found
