"""The run directory, where socket, token and audit log lie: is there one that is fit?

An agent passes over what is not its user's alone, and a client never looks there: so a
directory with a wrong mode or owner hides a worker without a word. Whose directories:
the worker's user's, on the worker's side, in the order in which an agent tries them.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from liveheap import registry
from liveheap_client.doctor.finding import Finding, note, ok, problem
from liveheap_client.doctor.subject import Subject

CHECK = "directory"


@dataclass(frozen=True, slots=True)
class Place:
    """One candidate, as it is."""

    path: str
    exists: bool = False
    is_directory: bool = False
    is_link: bool = False
    uid: int = 0
    mode: int = 0
    read_only: bool = False
    full: bool = False
    chosen: bool = False
    """Whether LIVEHEAP_DIR names it: then it is the only one."""

    def is_fit(self, uid: int) -> bool:
        """Whether an agent of that user would take it."""
        return self.is_directory and self.uid == uid and self.mode == 0o700


@dataclass(frozen=True, slots=True)
class DirectoryFacts:
    """The candidates, and who chose which."""

    uid: int
    places: tuple[Place, ...]
    ours: str | None = None
    """Our LIVEHEAP_DIR, and the worker's, if its environment could be read."""
    theirs: str | None = None
    knows_theirs: bool = False
    agent_in: str | None = None


def look(subject: Subject) -> DirectoryFacts:
    """Look at each candidate; nothing is made."""
    uid, ours = subject.uid, subject.environ.get("LIVEHEAP_DIR") or None
    theirs = (subject.settings or {}).get("LIVEHEAP_DIR") or None
    chosen = theirs if subject.settings is not None else ours
    paths = [chosen] if chosen else _usual(uid, subject.root)
    agent = subject.agent.socket if subject.agent else None
    return DirectoryFacts(
        uid=uid,
        places=tuple(_place(path, subject.root, path == chosen) for path in paths),
        ours=ours,
        theirs=theirs,
        knows_theirs=subject.settings is not None,
        agent_in=os.path.dirname(agent) if agent else None,
    )


def _usual(uid: int, root: str) -> list[str]:
    above, prefix = registry.TEMPORARY_ROOT, f"liveheap-{uid}-"
    try:
        names = sorted(os.listdir(root + above))
    except OSError:
        names = []
    return [
        f"{registry.RUNTIME_ROOT}/{uid}/liveheap",
        f"{above}/liveheap-{uid}",
        *(f"{above}/{name}" for name in names if name.startswith(prefix)),
    ]


def _place(path: str, root: str, chosen: bool) -> Place:
    try:
        found = os.lstat(root + path)
    except OSError:
        return Place(path, chosen=chosen)
    is_directory = stat.S_ISDIR(found.st_mode)
    read_only = full = False
    if is_directory:
        try:
            system = os.statvfs(root + path)
            read_only = bool(system.f_flag & os.ST_RDONLY)
            full = system.f_blocks > 0 and system.f_bavail == 0
        except OSError:
            pass
    return Place(
        path,
        exists=True,
        is_directory=is_directory,
        is_link=stat.S_ISLNK(found.st_mode),
        uid=found.st_uid,
        mode=stat.S_IMODE(found.st_mode),
        read_only=read_only,
        full=full,
        chosen=chosen,
    )


def judge(facts: DirectoryFacts) -> Iterator[Finding]:
    """Say which directory is used, and what is wrong with those before it."""
    yield from _agreement(facts)
    fit = [place for place in facts.places if place.is_fit(facts.uid)]
    for place in facts.places:
        if place.exists and not place.is_fit(facts.uid):
            yield _unfit(place, facts)
        elif place.read_only:
            yield note(
                CHECK,
                f"{place.path} is on a read-only file system: an agent cannot go there",
                "mount a tmpfs there, or set LIVEHEAP_DIR for the worker",
            )
        elif place.full:
            yield problem(
                CHECK,
                f"the file system of {place.path} is full: no socket, no audit log",
                f"df {place.path}",
            )
    if fit:
        yield ok(CHECK, f"{facts.agent_in or fit[0].path}, which only its user enters")
    elif not any(place.exists for place in facts.places):
        yield _none(facts)


def _agreement(facts: DirectoryFacts) -> Iterator[Finding]:
    """Whether the worker puts its socket where we look for it."""
    if not facts.knows_theirs or facts.ours == facts.theirs:
        return
    if facts.ours is None:
        yield note(
            CHECK,
            f"the worker was started with LIVEHEAP_DIR={facts.theirs}; you look in the "
            "usual places",
            f"LIVEHEAP_DIR={facts.theirs} liveheap ps",
        )
        return
    where = facts.theirs or "the usual places"
    yield problem(
        CHECK,
        f"you look into LIVEHEAP_DIR={facts.ours} alone; the worker was started to use "
        f"{where}",
        f"LIVEHEAP_DIR={facts.theirs} liveheap ps"
        if facts.theirs
        else "unset LIVEHEAP_DIR",
    )


def _unfit(place: Place, facts: DirectoryFacts) -> Finding:
    path, passed_over = place.path, "no agent goes there, and no client looks"
    if place.is_link:
        return problem(
            CHECK,
            f"{path} is a link, and a link may lead anywhere: {passed_over}",
            f"rm {path}; then restart the worker",
        )
    if not place.is_directory:
        return problem(
            CHECK,
            f"{path} is no directory: {passed_over}",
            f"rm {path}; then restart the worker",
        )
    if place.uid != facts.uid:
        what = "was chosen and" if place.chosen else "has been taken by somebody: it"
        return problem(
            CHECK,
            f"{path} {what} belongs to uid {place.uid}, not to {facts.uid}: "
            f"{passed_over}",
            f"sudo ls -la {path}; sudo chown -R {facts.uid} {path} if that is right",
        )
    return problem(
        CHECK,
        f"{path} has mode {place.mode:04o}, and only 0700 keeps others out: "
        f"{passed_over}",
        f"chmod 700 {path}; then restart the worker",
    )


def _none(facts: DirectoryFacts) -> Finding:
    if facts.places and facts.places[0].chosen:
        path = facts.places[0].path
        return note(
            CHECK,
            f"LIVEHEAP_DIR={path} does not exist: no agent has started with it",
            f"mkdir -m 700 {path}",
        )
    return note(
        CHECK,
        f"uid {facts.uid} has no run directory here: none of its agents has run",
        "liveheap run -- CMD",
    )
