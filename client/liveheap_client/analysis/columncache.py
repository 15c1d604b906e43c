"""The columns of a large snapshot, kept beside its file as a cache.

Decoding ten million objects takes some seconds, and a person who looks at a file looks
again. What the decoder made lies then in `.NAME-columns` beside the file, and is mapped
instead: half a second. The file may be deleted at any time, costs nine times what the
snapshot does, and is made only for large snapshots, where the disk has ample room. What
hinders it (a folder that cannot be written, a full disk) is no error and never told:
the answer is the same without.

**What it is tied to**: the snapshot's size, time of change, table of blocks (with the
CRC-32 of each) and SHA-256; the very decoder, by the hash of the extension module, so
that no version has to be raised by hand; and the user, by a key.

**Why a key.** The owner and the mode of a file say nothing of one that came with a
folder, unpacked or copied: somebody else may have written it. So the columns are signed
with 32 random bytes that only this user has, in `~/.cache/liveheap`. A cache without
our signature, of another owner, open to others, cut or damaged is passed over, and
replaced; a snapshot of somebody else gets none. Behind the signature `_graph.borrow`
checks all bounds, so that not even who has the key leads the C code out of its arrays.
Who can write our files can still cut one while it is mapped, which ends us.

A snapshot that is changed, in a way that its size, its time or a CRC-32 in it shows, is
read as before, and refused if it is damaged.

Layout: magic; signature; the facts, which are the identity, the number of unknown
targets and the length of each section; then the sections, each padded to 8 bytes. The
signature is an HMAC of the facts and of the SHA-256 of each piece of the sections, so
that pieces are hashed side by side.
"""

from __future__ import annotations

import hashlib
import hmac
import mmap
import os
import stat
import struct
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO

from liveheap.snapshot.reader import Snapshot
from liveheap_client import _graph

SWITCH = "LIVEHEAP_COLUMN_CACHE"
LEAST_RAW_BYTES = 32 << 20
"""Of the record stream, that is three million objects: half a second to decode."""
SHARE_OF_FREE_SPACE = 4

_MAGIC = b"LHcols\x00\x01"
_DIGEST_BYTES = 32
_KEY_BYTES = 32
_N_SECTIONS = len(_graph.SECTION_ITEM_SIZES)
_FACTS = struct.Struct(f"<{_DIGEST_BYTES}s{1 + _N_SECTIONS}Q")
_HEAD_BYTES = len(_MAGIC) + _DIGEST_BYTES + _FACTS.size
_ALIGNMENT = 8
_PIECE_BYTES = 8 << 20
_THREADS = 4


@dataclass(frozen=True, slots=True)
class ColumnCache:
    """Where the columns of one snapshot lie, and what they must be of."""

    path: Path
    identity: bytes

    @classmethod
    def of(cls, snapshot: Snapshot) -> ColumnCache | None:
        """Return the cache of a snapshot; None for one that shall have none."""
        if (
            os.name != "posix"
            or os.environ.get(SWITCH) == "0"
            or snapshot.truncated
            or snapshot.raw_length < LEAST_RAW_BYTES
        ):
            return None
        place = Path(os.path.realpath(snapshot.name))
        try:
            status = place.stat()
        except OSError:
            return None
        if status.st_uid != os.geteuid():
            return None
        identity = _identity(snapshot, status)
        return cls(place.with_name(f".{place.name}-columns"), identity)

    def read(self) -> _graph.Graph | None:
        """Return the graph that is kept here, None if there is none of ours."""
        try:
            memory = _mapped(self.path)
            key = _key()
        except (OSError, ValueError):
            return None
        if len(memory) < _HEAD_BYTES or memory[: len(_MAGIC)] != _MAGIC:
            return None
        signature = memory[len(_MAGIC) : len(_MAGIC) + _DIGEST_BYTES]
        facts = memory[_HEAD_BYTES - _FACTS.size : _HEAD_BYTES]
        columns = memory[_HEAD_BYTES:]
        identity, unknown_targets, *lengths = _FACTS.unpack(facts)
        if identity != self.identity or len(columns) != sum(map(_padded, lengths)):
            return None
        if not hmac.compare_digest(
            signature, _signature(key, facts, _sections(columns, lengths))
        ):
            return None
        try:
            return _graph.borrow(columns, tuple(lengths), unknown_targets)
        except (ValueError, MemoryError, _graph.CorruptStream):
            return None

    def write(self, graph: _graph.Graph) -> None:
        """Keep a graph here, if that does no harm."""
        sections = [memoryview(column) for column in graph.sections()]
        lengths = [len(section) for section in sections]
        with suppress(OSError):
            if not _has_room(self.path.parent, _HEAD_BYTES + sum(lengths)):
                return
            facts = _FACTS.pack(
                self.identity, graph.facts()["unknown_targets"], *lengths
            )
            signature = _signature(_key(), facts, sections)
            with _draft(self.path) as file:
                file.write(_MAGIC + signature + facts)
                for section in sections:
                    file.write(section)
                    file.write(bytes(_padded(len(section)) - len(section)))


def _identity(snapshot: Snapshot, status: os.stat_result) -> bytes:
    """Return what a cache must say that it is of."""
    assert snapshot.trailer is not None
    told = (
        status.st_size,
        status.st_mtime_ns,
        snapshot.trailer["raw_sha256"],
        snapshot.blocks,
        _decoder(),
    )
    return hashlib.sha256(repr(told).encode()).digest()


@cache
def _decoder() -> str:
    """Return what tells this decoder, and how it lays out columns, from any other."""
    return hashlib.sha256(Path(_graph.__file__).read_bytes()).hexdigest()


def _padded(length: int) -> int:
    return length + -length % _ALIGNMENT


def _sections(columns: memoryview, lengths: Sequence[int]) -> list[memoryview]:
    """Return the sections that lie one after the other in `columns`."""
    starts = [0, *accumulate(map(_padded, lengths))]
    return [
        columns[at : at + length] for at, length in zip(starts, lengths, strict=False)
    ]


def _signature(
    key: bytes, facts: bytes | memoryview, sections: Sequence[memoryview]
) -> bytes:
    """Return the signature of a cache."""
    pieces = [
        section[at : at + _PIECE_BYTES]
        for section in sections
        for at in range(0, len(section), _PIECE_BYTES)
    ]
    signature = hmac.new(key, facts, hashlib.sha256)
    with ThreadPoolExecutor(_THREADS, "liveheap-hashes") as threads:
        for digest in threads.map(hashlib.sha256, pieces):
            signature.update(digest.digest())
    return signature.digest()


def _own(descriptor: int) -> os.stat_result:
    """Return the status of an open file that is only ours, or raise OSError."""
    status = os.fstat(descriptor)
    only_ours = status.st_uid == os.geteuid() and not status.st_mode & 0o077
    if not stat.S_ISREG(status.st_mode) or not only_ours:
        raise PermissionError("not a file of this user alone")
    return status


def _open(path: Path) -> int:
    """Open a file for reading, but no link, and never wait for a pipe."""
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)


def _create(path: Path) -> int:
    """Create a file that only we can read."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o600)


def _mapped(path: Path) -> memoryview:
    """Return a file's bytes, which the kernel reads when they are asked for."""
    descriptor = _open(path)
    try:
        _own(descriptor)
        return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
    finally:
        os.close(descriptor)


def _has_room(folder: Path, size: int) -> bool:
    disk = os.statvfs(folder)
    return size * SHARE_OF_FREE_SPACE <= disk.f_bavail * disk.f_frsize


@contextmanager
def _draft(path: Path) -> Iterator[BinaryIO]:
    """Lend a file that gets its name when it is whole.

    Two who draft at once spoil one of the drafts, which nobody will believe.
    """
    draft = path.with_name(f"{path.name}.part")
    with suppress(FileNotFoundError):
        draft.unlink()
    try:
        with open(_create(draft), "wb") as file:
            yield file
        draft.rename(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise


def _key() -> bytes:
    """Return this user's key, made if there is none; OSError if that cannot be."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if not os.path.isabs(home):
        raise FileNotFoundError("no home")
    path = Path(home, "liveheap", "columns.key")
    if not path.exists():
        nearest = next(folder for folder in path.parents if folder.exists())
        if nearest.stat().st_uid != os.geteuid():
            raise PermissionError("not our home")  # sudo, which may leave HOME as it is
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _draft(path) as file:
            file.write(os.urandom(_KEY_BYTES))
    descriptor = _open(path)
    try:
        if _own(descriptor).st_size != _KEY_BYTES:
            raise FileNotFoundError("no key")
        return os.read(descriptor, _KEY_BYTES)
    finally:
        os.close(descriptor)
