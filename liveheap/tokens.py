"""The user's token: 32 random bytes in a file that only its owner can read.

Search order: `$LIVEHEAP_TOKEN_FILE`; `$CREDENTIALS_DIRECTORY/liveheap.token` (systemd's
LoadCredential); `<run dir>/token`; `~/.config/liveheap/token`. A place that has no file
is passed over, except the first, which somebody named. A file that is there and unfit
is an error and never passed over: the fault would otherwise show as "not genuine".

Checked on the open descriptor, so that nothing can be exchanged in between: a regular
file and no link, ours, no bits for group or others, 32 bytes. systemd's own files are
the exception: they may belong to root and show a group bit, because the permission is
an access list in a directory that no other unit can enter.

Never on a command line, never in a URL or log or, by default, an environment variable.
Nothing here keeps a token, and no error says one.

A token is replaced by renaming a new file over it (`rotate`): an agent reads the file
at each handshake, and sees by the file's identity (`Reader.is_stale`) that the token of
a session is not the one of today.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from liveheap.errors import AuthenticationError
from liveheap.protocol.keys import TOKEN_BYTES
from liveheap.registry import own_directories

CHOSEN = "LIVEHEAP_TOKEN_FILE"

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class TokenError(AuthenticationError):
    """There is no token, or its file is unfit."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint, code="token")


def find_token(environ: Mapping[str, str], run_dir: Path | None = None) -> bytes:
    """The token, from the first place that has one.

    Of the run directories, the one given comes first, if others cannot write there (a
    forwarded socket may lie in /tmp), and then this user's.
    """
    return _find(environ, run_dir).secret


def _find(environ: Mapping[str, str], run_dir: Path | None) -> _Found:
    for path, is_credential in _places(environ, _run_dirs(environ, run_dir)):
        found = _read(path, is_credential=is_credential)
        if found is not None:
            return found
    raise TokenError(
        "there is no token: no agent of this user has run here",
        hint="start the worker's agent, or set LIVEHEAP_TOKEN_FILE",
    )


class Reader:
    """Reads the token for one handshake; remembers which file it was, not the token."""

    __slots__ = ("_environ", "_file", "_run_dir")

    def __init__(self, environ: Mapping[str, str], run_dir: Path | None) -> None:
        self._environ = environ
        self._run_dir = run_dir
        self._file: tuple[Path, _Identity] | None = None

    def __call__(self) -> bytes:
        found = _find(self._environ, self._run_dir)
        self._file = found.path, found.identity
        return found.secret

    def is_stale(self) -> bool:
        """Whether another token has taken the place of the one that was read.

        One that is gone, with its directory perhaps, has none in its place.
        """
        if self._file is None:
            return False
        path, before = self._file
        try:
            return _identity(path.stat()) != before
        except OSError:
            return False


def files(environ: Mapping[str, str]) -> list[Path]:
    """This user's token files, the one that counts first: a chosen one counts alone."""
    places = _places(environ, own_directories(environ))
    found = [path for path, _ in places if os.path.lexists(path)]
    return found[:1] if environ.get(CHOSEN) else found


def rotate(path: Path) -> None:
    """Put a new token in place of the one in a file, at once and as a whole.

    Raises:
        TokenError: it cannot be replaced, or was no token file of ours.
    """
    if _read(path, is_credential=False) is None:
        raise TokenError(f"{path}: no such file", hint="liveheap token")
    draft = _draft(path)
    try:
        os.replace(draft, path)
    except OSError as exc:
        with suppress(OSError):
            os.unlink(draft)
        raise _cannot_make(path, exc) from None


def ensure_token(environ: Mapping[str, str], directory: Path) -> Path:
    """The file of the token for an agent of this directory; made there if missing.

    Other run directories do not count: who knows this one must find its token.
    """
    for path, is_credential in _places(environ, [directory]):
        if _read(path, is_credential=is_credential) is not None:
            return path
    path = directory / "token"
    _create(path)
    _read(path, is_credential=False)
    return path


def _run_dirs(environ: Mapping[str, str], first: Path | None) -> Iterator[Path]:
    """The run directories, one when it is asked for: to find all of them takes a look
    into /tmp, and an agent reads its own directory's token for every stranger."""
    if first is not None and not _is_writable_by_others(first):
        yield first
    yield from own_directories(environ)


def _places(
    environ: Mapping[str, str], run_directories: Iterable[Path]
) -> Iterator[tuple[Path, bool]]:
    """The search order; the flag says which file systemd made."""
    chosen = environ.get(CHOSEN)
    if chosen:
        if not os.path.lexists(chosen):
            raise TokenError(
                f"{CHOSEN}={chosen}: no such file",
                hint=f"umask 077; head -c {TOKEN_BYTES} /dev/urandom > {chosen}",
            )
        yield Path(chosen), False
    credentials = environ.get("CREDENTIALS_DIRECTORY")
    if credentials:
        yield Path(credentials, "liveheap.token"), True
    for directory in run_directories:
        yield directory / "token", False
    home = environ.get("HOME")
    if home:
        yield Path(home, ".config", "liveheap", "token"), False


def _is_writable_by_others(directory: Path) -> bool:
    try:
        return bool(directory.stat().st_mode & 0o022)
    except OSError:
        return False


_Identity = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Found:
    path: Path
    secret: bytes = field(repr=False)
    identity: _Identity


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _read(path: Path, *, is_credential: bool) -> _Found | None:
    """The token in a file; None if there is no file."""
    descriptor = _open(path)
    if descriptor is None:
        return None
    try:
        owners = {os.geteuid()}
        if is_credential:
            owners.add(0)
        status = os.fstat(descriptor)
        _check(path, status, owners, 0o037 if is_credential else 0o077)
        if status.st_size != TOKEN_BYTES:
            raise TokenError(
                f"{path} has {status.st_size} bytes; a token has {TOKEN_BYTES}",
                hint=f"rm {path}, then restart the agents",
            )
        return _Found(path, os.read(descriptor, TOKEN_BYTES), _identity(status))
    finally:
        os.close(descriptor)


def read_private(path: Path, longest: int) -> bytes:
    """What a file holds that nobody but this user can read: a token, or a key.

    Raises:
        TokenError: others could read it, or it is longer.
    """
    descriptor = _open(path)
    if descriptor is None:
        raise TokenError(
            f"{path}: no such file", hint=f"{CHOSEN} names a token, or a key"
        )
    try:
        status = os.fstat(descriptor)
        _check(path, status, {os.geteuid()}, 0o077)
        if status.st_size > longest:
            raise TokenError(
                f"{path} has {status.st_size} bytes; no token or key has so many",
                hint=f"{CHOSEN} names a token, or a key",
            )
        return os.read(descriptor, longest)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int | None:
    """Open a file to read, not through a link; None if there is none."""
    try:
        return os.open(path, _FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        if not _can_be_looked_at(path):
            return None
        if path.is_symlink():
            raise TokenError(
                f"{path} is a link; the token must be a file of its own",
                hint=f"rm {path}, or set {CHOSEN} to what it points to",
            ) from None
        raise TokenError(
            f"{path} cannot be opened: {exc.strerror}",
            hint=f"run as the worker's user; see: ls -l {path}",
        ) from None


def _can_be_looked_at(path: Path) -> bool:
    """Whether we may know of a file there; a home we left with its user we may not."""
    try:
        path.lstat()
    except PermissionError:
        return False
    return True


def _check(
    path: Path, status: os.stat_result, owners: set[int], forbidden: int
) -> None:
    uid = os.geteuid()
    if not stat.S_ISREG(status.st_mode):
        raise TokenError(f"{path} is not a regular file", hint=f"ls -l {path}")
    if status.st_uid not in owners:
        raise TokenError(
            f"{path} belongs to uid {status.st_uid}, not to {uid}",
            hint=f"run as that user, or: sudo chown {uid} {path}",
        )
    if stat.S_IMODE(status.st_mode) & forbidden:
        raise TokenError(
            f"{path} has mode {stat.S_IMODE(status.st_mode):04o}; others can use it",
            hint=f"others may have read it: rm {path}, then restart the agents",
        )


def _create(path: Path) -> None:
    """Make a token; the name appears with all its bytes, and whoever is first wins."""
    draft = _draft(path)
    try:
        with suppress(FileExistsError):
            os.link(draft, path)
    except OSError as exc:
        raise _cannot_make(path, exc) from None
    finally:
        with suppress(OSError):
            os.unlink(draft)


def _draft(path: Path) -> Path:
    """Write a new token beside where it shall be."""
    draft = path.with_name(f".token.{os.urandom(4).hex()}")
    try:
        with open(os.open(draft, _CREATE, 0o600), "wb") as file:
            file.write(os.urandom(TOKEN_BYTES))
    except OSError as exc:
        with suppress(OSError):
            os.unlink(draft)
        raise _cannot_make(path, exc) from None
    return draft


def _cannot_make(path: Path, exc: OSError) -> TokenError:
    return TokenError(
        f"no token could be made at {path}: {exc.strerror}",
        hint=f"set {CHOSEN} to a file of {TOKEN_BYTES} random bytes, mode 0600",
    )
