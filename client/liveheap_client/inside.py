"""A worker that sees other files, or other pids, than we do: a container, PrivateTmp.

Its agent's socket lies where the worker keeps it, under the number that the worker has
in its own pid namespace; we get there through /proc/PID/root. Links on the way are not
followed: they would lead out of there, and whoever put them may not be our friend.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from liveheap import registry
from liveheap.registry import Entry

PLACES = ("/tmp", "/run/user", "/var/tmp", "/dev/shm")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_LOOKED_AT = 1000
_MOST_ROOTS = 3


@contextlib.contextmanager
def walked(root: str, path: str) -> Iterator[int]:
    """Open a directory below a root, without following a link below it."""
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in filter(None, path.split("/")):
            below = os.open(part, _DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = below
        yield fd
    finally:
        os.close(fd)


def entry_of(pid: int) -> Entry | None:
    """Return the entry of a process's agent from where the process keeps it."""
    began, status = registry.start_time(pid), status_of(pid)
    if began is None or status is None:
        return None
    inner = int(status.get("NSpid", str(pid)).split()[-1])
    owner = int(status["Uid"].split()[1])
    root = f"/proc/{pid}/root"
    for place in _directories(root):
        with contextlib.suppress(OSError), walked(root, place) as fd:
            if os.fstat(fd).st_uid != owner or os.fstat(fd).st_mode & 0o077:
                continue
            found = registry.entry_in(fd, inner, began, owner)
            if found is not None:
                folder = Path(root + place)
                return replace(found, pid=pid, socket=folder / found.socket.name)
    return None


def entries() -> Iterator[Entry]:
    """Yield the agents of all processes that see other files or other pids than we.

    Those of one container see the same files, so its directories are read once, by way
    of any of them. Whose namespaces we may not know are passed over in silence.
    """
    ours = _namespaces("self")
    containers: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        theirs = _namespaces(name) if name.isdigit() else None
        if theirs is not None and theirs != ours:
            containers.setdefault(theirs[0], []).append(int(name))
    for pids in containers.values():
        known = {name for pid in pids[:_MOST_ROOTS] for name in _names(pid)}
        for pid in pids if known else ():
            entry = entry_of(pid) if _is_named(pid, known) else None
            if entry is not None:
                yield entry


def sees_other_files(pid: int) -> bool:
    """Whether the same path is another file to a process than to us."""
    try:
        theirs, ours = os.stat(f"/proc/{pid}/ns/mnt"), os.stat("/proc/self/ns/mnt")
        root = os.stat(f"/proc/{pid}/root")
    except OSError:
        return False
    return theirs.st_ino != ours.st_ino or not os.path.samestat(root, os.stat("/"))


def _namespaces(pid: int | str) -> tuple[int, int] | None:
    """Return what tells a process's files and pids from others'."""
    try:
        return (
            os.stat(f"/proc/{pid}/ns/mnt").st_ino,
            os.stat(f"/proc/{pid}/ns/pid").st_ino,
        )
    except OSError:
        return None


def _names(pid: int) -> Iterator[str]:
    """Yield the names of the files where agents of a process's container may be."""
    root = f"/proc/{pid}/root"
    for place in _directories(root):
        with contextlib.suppress(OSError), walked(root, place) as fd:
            yield from os.listdir(fd)[:_MOST_LOOKED_AT]


def _is_named(pid: int, names: set[str]) -> bool:
    """Whether a process's own name, as its container knows it, is among those."""
    status = status_of(pid)
    if status is None:
        return False
    inner = status.get("NSpid", str(pid)).split()[-1]
    return f"{inner}-{registry.start_time(pid)}.sock" in names


def status_of(pid: int | str) -> dict[str, str] | None:
    """Return what the kernel says of a process; None if it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text("utf-8", "replace")
    except OSError:
        return None
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in pairs}


def _directories(root: str) -> Iterator[str]:
    """Yield where agents of that root may be."""
    for above in PLACES:
        with contextlib.suppress(OSError), walked(root, above) as fd:
            names = sorted(os.listdir(fd))[:_MOST_LOOKED_AT]
            for name in names:
                if above == "/run/user":
                    yield f"{above}/{name}/liveheap"
                elif name.startswith("liveheap-"):
                    yield f"{above}/{name}"
