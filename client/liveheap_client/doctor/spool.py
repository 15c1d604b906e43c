"""Where a snapshot is written before it is sent: a place, with room, on a disk."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from liveheap import admission, limits, spool
from liveheap.heap import FIRST_BYTES_PER_OBJECT
from liveheap_client.doctor.finding import Finding, note, ok, problem
from liveheap_client.doctor.subject import Subject
from liveheap_client.quantities import human_bytes

CHECK = "spool"


@dataclass(frozen=True, slots=True)
class SpoolDirectory:
    """One place where a spool may be made; `fault` if it may not."""

    path: str
    free: int = 0
    in_memory: bool = False
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class SpoolFacts:
    """The places, and what a snapshot is expected to write."""

    target: str
    need: int
    places: tuple[SpoolDirectory, ...]
    chosen: bool = False
    """Whether LIVEHEAP_SPOOL names the one place."""
    knows_setting: bool = True


def look(subject: Subject) -> SpoolFacts:
    """Look at each place on the worker's side; nothing is written."""
    settings = subject.settings if subject.process is not None else subject.environ
    agent = subject.agent.socket if subject.agent else None
    names = spool.directories(
        settings or {}, None, os.path.dirname(agent or "") or None
    )
    memory = limits.process_memory(who=subject.who)
    need = admission.spool_need(int(memory.anonymous / FIRST_BYTES_PER_OBJECT))
    return SpoolFacts(
        target=str(subject.pid or ""),
        need=need,
        places=tuple(_place(name, subject) for name in names),
        chosen=bool((settings or {}).get("LIVEHEAP_SPOOL")),
        knows_setting=settings is not None,
    )


def _place(name: str, subject: Subject) -> SpoolDirectory:
    path = name if name.startswith(f"/proc/{subject.who}/root") else subject.root + name
    try:
        found, system = os.stat(path), os.statvfs(path)
    except OSError as exc:
        return SpoolDirectory(name, fault=exc.strerror or "cannot be looked at")
    free = system.f_bavail * system.f_frsize
    kind = limits.file_system_type(name, "/", who=subject.who)
    in_memory = kind in admission.MEMORY_FILE_SYSTEMS
    fault = None
    if not stat.S_ISDIR(found.st_mode):
        fault = "no directory"
    elif system.f_flag & os.ST_RDONLY:
        fault = "on a read-only file system"
    elif not _may_write(found, subject):
        fault = "not writable for the worker's user"
    return SpoolDirectory(name, free, in_memory, fault)


def _may_write(found: os.stat_result, subject: Subject) -> bool:
    """Foretell whether the worker may, by owner and mode; groups are not known here."""
    if subject.uid == 0 or found.st_mode & stat.S_IWOTH:
        return True
    if found.st_uid == subject.uid:
        return bool(found.st_mode & stat.S_IWUSR)
    return bool(found.st_mode & stat.S_IWGRP)


def judge(facts: SpoolFacts) -> Iterator[Finding]:
    """Say where the next spool goes, or why it cannot."""
    restart = "start the worker with LIVEHEAP_SPOOL=DIR, a directory on a disk"
    fit = [place for place in facts.places if place.fault is None]
    if facts.chosen and not fit:
        (place,) = facts.places
        yield problem(
            CHECK, f"LIVEHEAP_SPOOL={place.path} is {_said(place.fault)}", restart
        )
        return
    if not fit:
        tried = "; ".join(f"{each.path}: {each.fault}" for each in facts.places)
        yield problem(CHECK, f"there is no place for a spool ({tried})", restart)
        return
    roomy = sorted(
        (place for place in fit if place.free >= facts.need),
        key=lambda place: place.in_memory,
    )
    if not roomy:
        best = max(fit, key=lambda place: place.free)
        yield problem(
            CHECK,
            f"a snapshot writes about {human_bytes(facts.need)}, and {best.path} has "
            f"{human_bytes(best.free)} free",
            f"{restart}; see: df {best.path}",
        )
        return
    best = roomy[0]
    said = f"{best.path} has {human_bytes(best.free)} free"
    if facts.target:
        said += f"; a snapshot writes about {human_bytes(facts.need)}"
    if best.in_memory:
        yield note(
            CHECK,
            f"{said}, but it lies in memory (tmpfs), which counts as the worker's",
            restart,
        )
    else:
        yield ok(CHECK, said)


def _said(fault: str | None) -> str:
    return "missing" if fault == "No such file or directory" else fault or "unfit"
