"""A directory that a worker can read and only its user can enter, on its own side.

The worker may live in another mount namespace, so places are opened through
/proc/PID/root; and its user, or a container, may have put links there to lead us, who
may be root, astray. So a path is walked one name at a time, no link is ever followed,
what was opened is held open, and everything below is named relative to that.

The first place that is a directory, writable, with room is taken; one whose mount
forbids to execute (noexec) only if there is no other.
"""

import contextlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from liveheap import registry
from liveheap_client.errors import InjectError
from liveheap_client.inject.process import Process
from liveheap_client.inside import walked

PARENTS = ("/tmp", "/var/tmp", "/dev/shm")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SPARE_BYTES = 1 << 20
_LEFT = re.compile(r"(?:agent|remote-exec)-(\d+)-(\d+)-[0-9a-f]+(?:\.py)?", re.ASCII)


class Unfit(Exception):
    """This place will not do; the next one may."""


@dataclass(frozen=True, slots=True)
class Place:
    """A new directory of the worker's user: an open descriptor, and its path there."""

    fd: int
    path: str
    """As the worker names it."""
    home: str
    """The directory above, which stays."""
    home_fd: int
    may_execute: bool
    process: Process

    def write(self, name: str, data: bytes, mode: int = 0o600) -> None:
        """Make a file; the folders in its name are made as needed."""
        with self._folder(os.path.dirname(name)) as folder:
            descriptor = os.open(os.path.basename(name), _NEW, mode, dir_fd=folder)
            with open(descriptor, "wb") as file:
                file.write(data)
                _give(descriptor, self.process)

    def write_beside(self, name: str, data: bytes) -> None:
        """Make a file in the directory above, which does not go with this one."""
        descriptor = os.open(name, _NEW, 0o600, dir_fd=self.home_fd)
        with open(descriptor, "wb") as file:
            file.write(data)
            _give(descriptor, self.process)

    def make_fifo(self, name: str) -> int:
        """Make a pipe with a name; return its both ends: so it never seems to end."""
        os.mkfifo(name, 0o600, dir_fd=self.fd)
        flags = os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, dir_fd=self.fd)
        if not stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.close(fd)
            raise InjectError(f"{name} in {self.path} was exchanged for another file")
        _give(fd, self.process)
        return fd

    def hand_over(self) -> None:
        """Let the worker's user in. Before that, nobody could exchange what lies there
        for something else while it was given away."""
        _give(self.fd, self.process)

    @contextlib.contextmanager
    def _folder(self, name: str) -> Iterator[int]:
        """Open a folder below, making what is missing of it."""
        fd = os.dup(self.fd)
        try:
            for part in filter(None, name.split("/")):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o700, dir_fd=fd)
                below = os.open(part, _DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = below
                _give(fd, self.process)
            yield fd
        finally:
            os.close(fd)


@contextlib.contextmanager
def place_for(process: Process, n_bytes: int) -> Iterator[Place]:
    """Lend a new directory on the worker's side; it is gone afterwards.

    Raises:
        InjectError: there is no place for one, and why each will not do.
    """
    parent, home = _find(process, n_bytes)
    sweep(parent, process)
    name = f"agent-{process.inner_pid}-{process.start_time}-{secrets.token_hex(4)}"
    try:
        with saying_where(home):
            os.mkdir(name, 0o700, dir_fd=parent)
            fd = os.open(name, _DIRECTORY, dir_fd=parent)
        try:
            _check_ours(fd, home)
            yield Place(fd, f"{home}/{name}", home, parent, _may_execute(fd), process)
        finally:
            os.close(fd)
    finally:
        shutil.rmtree(f"/proc/self/fd/{parent}/{name}", ignore_errors=True)
        os.close(parent)


def _check_ours(fd: int, home: str) -> None:
    """Raise InjectError if this is not the directory that was just made.

    The one above is the worker's user's, who may have put another in its place; ours is
    ours until it is handed over.
    """
    status = os.fstat(fd)
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) != 0o700:
        raise InjectError(
            f"somebody has exchanged the directory that was made in {home}",
            hint=f"look who: ls -la {home}",
        )


@contextlib.contextmanager
def saying_where(home: str) -> Iterator[None]:
    """Turn what goes wrong with files there into an error that says so."""
    try:
        yield
    except OSError as exc:
        raise InjectError(
            f"the agent cannot be put into {home}: {exc.strerror or exc}",
            hint=f"room, and rights: df {home}; ls -ld {home}",
        ) from exc


def sweep(home: int, process: Process) -> None:
    """Remove what clients that were killed have left for processes that are gone."""
    if not process.sees_our_pids:
        return
    for name in os.listdir(home):
        left = _LEFT.fullmatch(name)
        if left is None or registry.start_time(int(left[1])) == int(left[2]):
            continue
        with contextlib.suppress(OSError):
            if name.endswith(".py"):
                os.unlink(name, dir_fd=home)
            else:
                shutil.rmtree(f"/proc/self/fd/{home}/{name}", ignore_errors=True)


def _find(process: Process, n_bytes: int) -> tuple[int, str]:
    """Open the best place's directory of the worker's user."""
    complaints, without_execution = [], None
    for above in (*PARENTS, f"/run/user/{process.uid}"):
        try:
            fd, path = _open_home(process, above, n_bytes)
        except (Unfit, OSError) as exc:
            complaints.append(f"{above}: {getattr(exc, 'strerror', None) or exc}")
            continue
        if _may_execute(fd):
            if without_execution is not None:
                os.close(without_execution[0])
            return fd, path
        if without_execution is None:
            without_execution = fd, path
        else:
            os.close(fd)
    if without_execution is not None:
        return without_execution
    listed = "\n".join(complaints)
    raise InjectError(
        f"the worker has no directory that could take the agent:\n{listed}",
        hint="one of these has to be a directory that its user can write to",
    )


def _open_home(process: Process, above: str, n_bytes: int) -> tuple[int, str]:
    """Open `<above>/liveheap-UID` on the worker's side, made if missing."""
    name = f"liveheap-{process.uid}"
    with walked(process.root, above) as fd:
        _check_room(fd, n_bytes)
        made = False
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=fd)
            made = True
        try:
            home = os.open(name, _DIRECTORY, dir_fd=fd)
        except OSError as exc:
            raise Unfit(f"{name} there is a link, or no directory") from exc
    try:
        if made and os.fstat(home).st_uid == os.geteuid():
            _give(home, process)
        status = os.fstat(home)
        if status.st_uid != process.uid:
            raise Unfit(f"{name} there belongs to uid {status.st_uid}")
        if stat.S_IMODE(status.st_mode) != 0o700:
            raise Unfit(f"{name} there has mode {stat.S_IMODE(status.st_mode):04o}")
    except BaseException:
        os.close(home)
        raise
    return home, f"{above}/{name}"


def _check_room(fd: int, n_bytes: int) -> None:
    system = os.fstatvfs(fd)
    if system.f_flag & os.ST_RDONLY:
        raise Unfit("read-only")
    free = system.f_bavail * system.f_frsize
    if free < n_bytes + _SPARE_BYTES:
        raise Unfit(f"{free >> 10} KiB free, {(n_bytes + _SPARE_BYTES) >> 10} needed")


def _may_execute(fd: int) -> bool:
    return not os.fstatvfs(fd).f_flag & os.ST_NOEXEC


def _give(fd: int, process: Process) -> None:
    """Make a file the worker's user's, if it is not."""
    if os.fstat(fd).st_uid != process.uid:
        os.fchown(fd, process.uid, process.gid)
