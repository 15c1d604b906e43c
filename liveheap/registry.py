"""Which workers of this machine have an agent, and where its socket is.

The registry is a directory: `<pid>-<start time>.sock` is an agent's socket and the
`.json` beside it says what kind of worker it is. A pid alone would lie after reuse, so
the start time (field 22 of /proc/PID/stat, in clock ticks since boot) is in the name:
an entry whose process is gone, or is another one by now, is stale and is unlinked by
whoever sees it.

Directories, in this order: `$LIVEHEAP_DIR`, `/run/user/UID/liveheap`,
`/tmp/liveheap-UID`, and `/tmp/liveheap-UID-<random>`, where an agent goes when someone
has squatted the name before it. An agent uses the first that it can; a client looks in
all, unless `$LIVEHEAP_DIR` is set: whoever names a place means that place alone (a demo
or a test lists its own workers and nobody else's). `$XDG_RUNTIME_DIR` is not asked: it
is empty in a plain `ssh host command`, in cron and in system services, so agent and
client would disagree. Each must be a real directory, ours, with mode 0700; what is not
is never read, written or connected to.

Root also sees other users' directories, opens nothing in them through a link and
changes nothing there. Containers and private /tmp keep theirs under /proc/PID/root: the
client looks there by itself (`entry_in`).

A directory may be shared by containers with pids of their own. Facts therefore say
the pid namespace, and what another namespace wrote is neither listed nor stale here.

Everything here bears files that vanish between two calls, and files with nonsense in
them: facts that cannot be read are no facts, not an error.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from liveheap.errors import LiveheapError

RUNTIME_ROOT = "/run/user"
TEMPORARY_ROOT = "/tmp"
PROC = "/proc"
MAX_FACTS_BYTES = 64 * 1024
MAX_SOCKET_PATH = 107

_ENTRY_NAME = re.compile(
    r"\.?([1-9][0-9]{0,9})-([0-9]{1,20})\.(sock|json|[0-9a-f]{8})", re.ASCII
)
_READ_ONLY = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_DIRECTORY = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class RunDirectoryError(LiveheapError):
    """There is no directory for our socket that only we can write to."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A worker with an agent: its process, its socket, and what it says of itself."""

    pid: int
    start_time: int
    socket: Path
    facts: dict[str, Any] = field(default_factory=dict)
    inner_pid: int | None = None  # its number in its own pid namespace, if it has one

    @property
    def facts_path(self) -> Path:
        """The file that holds the facts."""
        return self.socket.with_suffix(".json")


def run_directory(environ: Mapping[str, str], *, create: bool) -> Path:
    """The directory that an agent of this user uses, made if asked for.

    Raises RunDirectoryError if `$LIVEHEAP_DIR` is set and unfit: going elsewhere
    without a word would hide the worker from those who look there.
    """
    chosen = environ.get("LIVEHEAP_DIR")
    if chosen:
        path = Path(os.path.abspath(chosen))
        if create:
            _make(path, parents=True)
        fault = _fault(path, to_write=create)
        if fault is None:
            return path
        raise RunDirectoryError(
            f"LIVEHEAP_DIR={path}: {fault}",
            hint=f"mkdir -m 700 {path} as the worker's user, or unset LIVEHEAP_DIR",
        )
    for path in (*_usual(), *_fallbacks(os.geteuid())):
        if create:
            _make(path)
        if _fault(path, to_write=create) is None:
            return path
    if create:
        return _new_fallback()
    raise RunDirectoryError(
        "this user has no liveheap directory here, so no agent runs",
        hint="start one: liveheap run -- python app.py",
    )


def directories(environ: Mapping[str, str]) -> list[Path]:
    """Every usable directory, in order of search; for root, other users' too."""
    candidates = own_directories(environ)
    if os.geteuid() == 0 and not environ.get("LIVEHEAP_DIR"):
        candidates += [
            path
            for path in (*_children(TEMPORARY_ROOT, "liveheap-"), *_runtime_of_all())
            if _fault(path, any_owner=True) is None
        ]
    return list(dict.fromkeys(candidates))


def own_directories(environ: Mapping[str, str]) -> list[Path]:
    """Every usable directory of this user, in order of search."""
    chosen = environ.get("LIVEHEAP_DIR")
    candidates = (
        [Path(os.path.abspath(chosen))]
        if chosen
        else [*_usual(), *_fallbacks(os.geteuid())]
    )
    return [path for path in dict.fromkeys(candidates) if _fault(path) is None]


def start_time(pid: int) -> int | None:
    """When a process began, in clock ticks since boot; None if there is none."""
    try:
        with open(f"{PROC}/{int(pid)}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return int(fields[19])
    except (OSError, IndexError, ValueError):
        return None


def pid_namespace() -> int:
    """The number of our pid namespace; pids of another one mean nothing here.

    0 without a /proc of ours: then nobody can be told alive, or dead.
    """
    try:
        return os.stat(f"{PROC}/self/ns/pid").st_ino
    except OSError:
        return 0


def publish(
    directory: Path, pid: int, start_time: int, facts: Mapping[str, Any]
) -> Entry:
    """Write an entry's facts, whole or not at all; then its owner binds the socket.

    In that order, because an entry is listed as soon as its socket is there.
    """
    known = {**facts, "pid_namespace": pid_namespace()}
    entry = Entry(pid, start_time, directory / f"{pid}-{start_time}.sock", known)
    written = json.dumps(entry.facts, default=str).encode()
    draft = directory / f".{pid}-{start_time}.{os.urandom(4).hex()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(draft, flags, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(written)
        os.rename(draft, entry.facts_path)
    except BaseException:
        _unlink(draft)
        raise
    return entry


def withdraw(entry: Entry) -> None:
    """Take an entry and its socket out of the registry."""
    _unlink(entry.socket)
    _unlink(entry.facts_path)


def entries(environ: Mapping[str, str]) -> list[Entry]:
    """Every live worker with an agent, by pid; stale names of ours are unlinked."""
    found: dict[tuple[int, int], Entry] = {}
    for directory in directories(environ):
        for entry in _entries_in(directory):
            found.setdefault((entry.pid, entry.start_time), entry)
    return [found[key] for key in sorted(found)]


def entry_in(descriptor: int, pid: int, began: int, owner: int) -> Entry | None:
    """The entry of one process in an open directory, with the bare names of its files.

    Whatever pid namespace wrote it: the caller knows that `pid` is of that one.
    """
    socket = f"{pid}-{began}.sock"
    if not _is_socket_of(owner, socket, descriptor):
        return None
    facts = {**_facts(f"{pid}-{began}.json", owner, descriptor), "uid": owner}
    return Entry(pid, began, Path(socket), facts, inner_pid=pid)


@contextmanager
def connect_path(entry: Entry) -> Iterator[str]:
    """The path to connect to, usable within the block, however long the name is."""
    with socket_path(entry.socket) as path:
        yield path


@contextmanager
def socket_path(path: Path) -> Iterator[str]:
    """A path for bind or connect: itself, or a short one through /proc/self/fd."""
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        yield str(path)
        return
    descriptor = os.open(path.parent, os.O_PATH | _DIRECTORY)
    try:
        yield f"{PROC}/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)


def disabled(environ: Mapping[str, str]) -> bool:
    """Whether the kill switch is thrown: LIVEHEAP=0, or a file `disabled` of ours."""
    if environ.get("LIVEHEAP") == "0":
        return True
    switches = map(kill_switch, own_directories(environ))
    return any(map(os.path.lexists, switches))


def kill_switch(directory: Path) -> str:
    """Where the kill switch's file lies if it is thrown, whatever kind of file."""
    return str(directory / "disabled")


def _entries_in(directory: Path) -> Iterator[Entry]:
    here = pid_namespace()
    if not here:
        return
    try:
        descriptor = os.open(directory, os.O_RDONLY | _DIRECTORY)
    except OSError:
        return
    try:
        owner = os.fstat(descriptor).st_uid
        stale = []
        for name in os.listdir(descriptor):
            match = _ENTRY_NAME.fullmatch(name)
            if match is None:
                continue
            pid, began = int(match[1]), int(match[2])
            socket = f"{pid}-{began}.sock"
            facts = _facts(f"{pid}-{began}.json", owner, descriptor)
            if facts.get("pid_namespace", here) != here:
                continue
            if start_time(pid) != began:
                stale.append(name)
            elif (
                name == socket
                and _is_socket_of(owner, socket, descriptor)
                and _runs_as(owner, pid)
            ):
                yield Entry(pid, began, directory / name, {**facts, "uid": owner})
        if owner == os.geteuid():
            for name in stale:
                _unlink(name, descriptor)
    finally:
        os.close(descriptor)


def _runs_as(uid: int, pid: int) -> bool:
    """Whether a process is still this user's; if not, its socket is elsewhere now."""
    try:
        with open(f"{PROC}/{pid}/status", "rb") as file:
            uids = file.read().partition(b"\nUid:")[2].split()[:4]
        return str(uid).encode() in uids
    except OSError:
        return False


def _is_socket_of(owner: int, name: str, directory: int) -> bool:
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return False
    return stat.S_ISSOCK(status.st_mode) and status.st_uid == owner


def _facts(name: str, owner: int, directory: int) -> dict[str, Any]:
    """Read facts; whatever is wrong with them, there are none."""
    try:
        descriptor = os.open(name, _READ_ONLY, dir_fd=directory)
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_uid != owner:
                return {}
            facts = json.loads(file.read(MAX_FACTS_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _fault(
    path: Path, *, any_owner: bool = False, to_write: bool = False
) -> str | None:
    """What is wrong with a directory, in words; None if it is fit."""
    try:
        status = path.lstat()
    except OSError as exc:
        return os.strerror(exc.errno or 0)
    if not stat.S_ISDIR(status.st_mode):
        return "not a directory, or a link to one"
    if status.st_uid != os.geteuid() and not any_owner:
        return f"belongs to uid {status.st_uid}"
    if stat.S_IMODE(status.st_mode) != 0o700:
        return f"has mode {stat.S_IMODE(status.st_mode):04o}, not 0700"
    if to_write and not os.access(path, os.W_OK | os.X_OK):
        return "cannot be written to"
    return None


def _usual() -> tuple[Path, Path]:
    uid = os.geteuid()
    return (
        Path(RUNTIME_ROOT, str(uid), "liveheap"),
        Path(TEMPORARY_ROOT, f"liveheap-{uid}"),
    )


def _fallbacks(uid: int) -> list[Path]:
    return _children(TEMPORARY_ROOT, f"liveheap-{uid}-")


def _runtime_of_all() -> list[Path]:
    return [path / "liveheap" for path in _children(RUNTIME_ROOT, "")]


def _children(directory: str, prefix: str) -> list[Path]:
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return []
    return [Path(directory, name) for name in names if name.startswith(prefix)]


def _make(path: Path, *, parents: bool = False) -> None:
    """Make a directory if its place exists; whether it is fit is asked afterwards."""
    with suppress(OSError):
        path.mkdir(0o700, parents=parents)


def _new_fallback() -> Path:
    path = Path(TEMPORARY_ROOT, f"liveheap-{os.geteuid()}-{os.urandom(6).hex()}")
    try:
        path.mkdir(0o700)
    except OSError as exc:
        raise RunDirectoryError(
            f"no directory can be made for its socket in {TEMPORARY_ROOT}: "
            f"{os.strerror(exc.errno or 0)}",
            hint="set LIVEHEAP_DIR to a directory of mode 0700 that can be written to",
        ) from exc
    fault = _fault(path)
    if fault is None:
        return path
    raise RunDirectoryError(
        f"{path}: {fault}", hint="set LIVEHEAP_DIR to a directory of mode 0700"
    )


def _unlink(path: str | Path, directory: int | None = None) -> None:
    with suppress(OSError):
        os.unlink(path, dir_fd=directory)
