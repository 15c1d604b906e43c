"""Which workers `--all [PID|NAME|HOST]` means, as rows of `ps` and what to call each.

A pid is a tree: that process, with or without an agent, and all that come from it. A
name is every worker of that name or program, and all that come from those. A host, or
HOST/NAME and HOST/PID, means the same there. Nothing means all workers here, if they
are of one program: whoever has several shall say which. Several of these mean all that
each of them means; a host that does not answer is told and loses no other.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from liveheap_client import abreast, roster
from liveheap_client import target as targets
from liveheap_client.abreast import Answer
from liveheap_client.dial import DialOptions, remote_workers
from liveheap_client.errors import ConnectError, UsageError
from liveheap_client.target import Kind
from liveheap_client.workers import START_HINT

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The rows of some workers, and the target by which each is reached.

    `failures`: why hosts named nobody, by host, if several were asked.
    """

    rows: Sequence[Row]
    target_of: Callable[[Row], str]
    failures: Sequence[Answer["Chosen"]] = ()
    is_of_several: bool = False


def choose(place: str | None, options: DialOptions) -> Chosen:
    """Return the workers that are meant; UsageError says what there is to choose."""
    if place is None:
        return Chosen(_only_program(_here()), _local_target)
    return _chosen(place, _here(), options)


def choose_of_several(
    places: Sequence[str], options: DialOptions, *, on_answer: Callable[[int], None]
) -> Chosen:
    """Ask all places side by side, without a prompt; return what is meant of each.

    Raises the first error if no place names a worker.
    """
    for place in places:
        targets.parse(place)
    here, options = _here(), options.abreast()
    answers = abreast.ask(
        list(dict.fromkeys(places)),
        lambda place: _chosen(place, here, options),
        on_answer=on_answer,
    )
    failures = [answer for answer in answers if answer.error is not None]
    found = [answer.found for answer in answers if answer.found is not None]
    if not found and failures[0].error is not None:
        raise failures[0].error
    rows = {
        target: {**row, "target": target}
        for chosen in found
        for row in chosen.rows
        for target in [chosen.target_of(row)]
    }
    return Chosen(
        list(rows.values()),
        lambda row: str(row["target"]),
        failures,
        is_of_several=True,
    )


def _chosen(place: str, rows: Sequence[Row], options: DialOptions) -> Chosen:
    if any(place in _names(row) for row in rows):
        return Chosen(_called(place, rows), _local_target)
    target = targets.parse(place)
    if target.kind is Kind.LOCAL:
        return Chosen(_meant(place, rows, target.pid, target.name), _local_target)
    if target.kind not in (Kind.SSH, Kind.PORT):
        raise UsageError(
            f"--all means the workers of a host; {place} is none",
            hint="--all PID, --all NAME, --all HOST, --all HOST/NAME",
        )
    host = place.partition("/")[0]
    far = targets.parse(host)
    listed = _checked(roster.in_order(remote_workers(far, options)))
    found = _meant(place, listed, target.pid, target.name)
    return Chosen(found, lambda row: f"{host}/{row['pid']}")


def _here() -> Sequence[Row]:
    with roster.calling(os.environ) as roll:
        return roster.local(os.environ, roll)


def _local_target(row: Row) -> str:
    return str(row["pid"])


def _meant(
    place: str, rows: Sequence[Row], pid: int | None, name: str | None
) -> Sequence[Row]:
    if pid is not None:
        return _tree(place, rows, {pid})
    if name is not None:
        return _called(name, rows)
    return _only_program(rows)


def _called(name: str, rows: Sequence[Row]) -> Sequence[Row]:
    return _tree(name, rows, {row["pid"] for row in rows if name in _names(row)})


def _tree(place: str, rows: Sequence[Row], roots: set[int]) -> Sequence[Row]:
    """Return the rows of some processes and of all that come from them.

    The list names for each worker its nearest ancestor that has an agent; one without
    is asked for in /proc, which only this machine has.
    """
    meant = set(roots)
    for row in rows:  # parents stand before their children
        if meant.intersection(row.get("ancestors") or [row.get("parent")]):
            meant.add(row["pid"])
    found = [row for row in rows if row["pid"] in meant]
    if not found:
        raise ConnectError(
            f"no worker with an agent is {place}, or comes from it",
            hint="liveheap ps shows the trees",
        )
    return found


def _checked(rows: Sequence[Row]) -> Sequence[Row]:
    """Return what another machine listed, as far as it is what it should be."""
    found = []
    for row in rows:
        line = row.get("ancestors")
        pids = [pid for pid in line if isinstance(pid, int)] if _is_list(line) else None
        texts = {name: str(row[name]) for name in ("name", "program") if row.get(name)}
        parent = row.get("parent") if isinstance(row.get("parent"), int) else None
        if isinstance(row.get("pid"), int):
            found.append({**row, **texts, "ancestors": pids, "parent": parent})
    return found


def _is_list(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list)


def _only_program(rows: Sequence[Row]) -> Sequence[Row]:
    if not rows:
        raise ConnectError("no worker with an agent is running here", hint=START_HINT)
    roots = [row for row in rows if not row.get("depth")]
    programs = {row.get("name") or row.get("program") for row in roots}
    if len(programs) > 1:
        listed = "\n".join(
            f"{row['pid']} {row.get('name') or row.get('program')}" for row in roots
        )
        raise UsageError(
            f"workers of {len(programs)} programs to choose from:\n{listed}",
            hint="name a tree or a program: --all PID, --all NAME",
        )
    return rows


def _names(row: Row) -> set[str]:
    program = str(row.get("program") or "")
    words = program.split()
    first = {os.path.basename(words[0]), words[0]} if words else set()
    return {program, str(row.get("name") or ""), *first} - {""}
