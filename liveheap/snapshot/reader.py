"""Read a snapshot file, trusting nothing in it.

`Snapshot.open` reads the frame of the file: magic, header, the places of the blocks
and the trailer. `iter_raw` gives the record stream block by block, each checked
against its CRC-32 and its length, and at the end the whole against the trailer's
length and SHA-256. Who only wants to know that a file is whole calls `verify`.

Every length is bounded before it is believed: a payload by FORMAT.md's limits, the
output of zstd by the block's raw length, which is at most 4 MiB. So a file can cost
a reader some megabytes, whatever it says.

Only `SnapshotError` comes out: `UnsupportedVersion`, `TruncatedSnapshot` (there is
less than there should be), `CorruptSnapshot` (what is there is wrong). A truncated
file opens with `allow_truncated=True`, says so in `truncated`, and gives what its
whole blocks hold. zstandard is imported when the first zstd block is met.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, BinaryIO

from liveheap.errors import (
    CorruptSnapshot,
    SnapshotError,
    TruncatedSnapshot,
    UnsupportedVersion,
)
from liveheap.snapshot import format as layout


@dataclass(frozen=True, slots=True)
class Block:
    """Where a block's payload lies, and what it should be."""

    kind: int
    codec: int
    offset: int
    stored_length: int
    raw_length: int
    crc32: int


class Check:
    """Reads blocks of records in their order, and knows whether they are good."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = stream
        self._name = name
        self._digest = hashlib.sha256()
        self.blocks: list[Block] = []

    def block(self, block: Block) -> bytes:
        """Return the next block's records; raise CorruptSnapshot if it is not good."""
        try:
            raw = _decode(self._stream, self._name, block)
        except OSError as exc:
            raise SnapshotError(f"cannot read {self._name}: {_reason(exc)}") from exc
        self._digest.update(raw)
        self.blocks.append(block)
        return raw

    def end(self, trailer: Mapping[str, Any]) -> None:
        """Raise CorruptSnapshot unless the trailer is of these blocks."""
        length = sum(block.raw_length for block in self.blocks)
        if length != trailer["raw_length"]:
            raise CorruptSnapshot(
                f"{self._name}: the trailer announces {trailer['raw_length']} "
                f"bytes of records, there are {length}"
            )
        if self._digest.hexdigest() != trailer["raw_sha256"]:
            raise CorruptSnapshot(
                f"{self._name}: the records do not match the trailer's SHA-256"
            )


class Snapshot:
    """An opened snapshot file; a context manager."""

    def __init__(
        self,
        stream: BinaryIO,
        name: str,
        header: dict[str, Any],
        trailer: dict[str, Any] | None,
        blocks: tuple[Block, ...],
    ) -> None:
        self._stream = stream
        self.blocks = blocks
        self.name = name
        self.header = header
        self.trailer = trailer

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], *, allow_truncated: bool = False
    ) -> Snapshot:
        """Open the file at `path` and check its frame.

        Raises:
            TruncatedSnapshot: it lacks its end, and `allow_truncated` is false.
            SnapshotError: it cannot be read, or is no snapshot that we know.
        """
        name = os.fspath(path)
        try:
            stream = open(name, "rb")  # noqa: SIM115 - `close` closes it
        except (OSError, ValueError) as exc:
            raise SnapshotError(f"cannot open {name}: {_reason(exc)}") from exc
        try:
            header, trailer, blocks = _read_frame(stream, name)
            snapshot = cls(stream, name, header, trailer, blocks)
            if snapshot.truncated and not allow_truncated:
                raise TruncatedSnapshot(f"{name} is not complete: {snapshot.reason}")
        except OSError as exc:
            stream.close()
            raise SnapshotError(f"cannot read {name}: {_reason(exc)}") from exc
        except BaseException:
            stream.close()
            raise
        return snapshot

    @property
    def truncated(self) -> bool:
        """Whether the record stream stops short."""
        return self.trailer is None or self.trailer["complete"] is not True

    @property
    def reason(self) -> str | None:
        """Why the stream stops short; None if it does not."""
        if self.trailer is None:
            return "it has no trailer (the transfer was interrupted)"
        if not self.truncated:
            return None
        reason = self.trailer.get("reason")
        return reason if isinstance(reason, str) else "the worker's walk did not end"

    @property
    def raw_length(self) -> int:
        """How long the record stream will be, as the blocks announce it."""
        return sum(block.raw_length for block in self.blocks)

    def iter_raw(self) -> Iterator[bytes]:
        """Yield the record stream, in pieces of at most 4 MiB.

        Raises:
            CorruptSnapshot: a piece, or at the end the whole, is not what was
                written. What was yielded before a bad piece is good.
        """
        check = Check(self._stream, self.name)
        for block in self.blocks:
            yield check.block(block)
        if self.trailer is not None:
            check.end(self.trailer)

    def verify(self, check: Check | None = None) -> None:
        """Read everything, and raise unless it is what was written.

        With a `check` that has read the blocks already, while the file grew, look only
        whether they are those of the file that there is now, and at the whole.
        """
        if check is None:
            for _ in self.iter_raw():
                pass
            return
        if tuple(check.blocks) != self.blocks:
            raise CorruptSnapshot(f"{self.name} has changed while it was written")
        if self.trailer is not None:
            check.end(self.trailer)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _read_frame(
    stream: BinaryIO, name: str
) -> tuple[dict[str, Any], dict[str, Any] | None, tuple[Block, ...]]:
    """Return header, trailer if there is one, and the blocks of records."""
    size = os.fstat(stream.fileno()).st_size
    _check_head(stream.read(layout.FILE_HEAD.size), name)
    offset = layout.FILE_HEAD.size
    header: dict[str, Any] | None = None
    blocks = []
    while offset < size:
        block = _block_at(stream, name, offset, size)
        if block is None:
            break
        offset = block.offset + block.stored_length
        if header is None:
            if block.kind != layout.BlockKind.HEADER:
                raise CorruptSnapshot(f"{name}: the first block is no header")
            header = _document(stream, name, block)
        elif block.kind == layout.BlockKind.RECORDS:
            blocks.append(block)
        elif block.kind == layout.BlockKind.TRAILER:
            trailer = _checked_trailer(_document(stream, name, block), name)
            if offset != size:
                raise CorruptSnapshot(
                    f"{name}: {size - offset} bytes follow the trailer"
                )
            return header, trailer, tuple(blocks)
        elif block.kind < layout.FIRST_SKIPPABLE_KIND:
            raise CorruptSnapshot(
                f"{name}: block of kind {block.kind} where records or the trailer "
                f"were expected"
            )
    if header is None:
        raise TruncatedSnapshot(f"{name} ends before its header is whole")
    return header, None, tuple(blocks)


def _check_head(head: bytes, name: str) -> None:
    """Raise unless `head` begins a file of a major version that we know."""
    magic = head[: len(layout.MAGIC)]
    if magic != layout.MAGIC[: len(magic)] or not magic:
        raise CorruptSnapshot(f"{name} is not a liveheap snapshot")
    if len(head) < layout.FILE_HEAD.size:
        raise TruncatedSnapshot(f"{name} ends within its first {len(head)} bytes")
    _, major, minor = layout.FILE_HEAD.unpack(head)
    if major not in layout.MAJORS:
        raise UnsupportedVersion(
            f"{name} has format {major}.{minor}; this liveheap reads {layout.MAJOR}.x "
            f"to {layout.MAJORS[-1]}.x",
            hint="pip install --upgrade liveheap"
            if major > layout.MAJORS[-1]
            else "read it with the liveheap that wrote it",
        )


def _block_at(stream: BinaryIO, name: str, offset: int, size: int) -> Block | None:
    """Return the block whose head is at `offset`, None if the file ends within it."""
    if size - offset < layout.BLOCK_HEAD.size:
        return None
    stream.seek(offset)
    head = stream.read(layout.BLOCK_HEAD.size)
    if len(head) < layout.BLOCK_HEAD.size:
        return None
    kind, codec, zero, stored_length, raw_length, crc32 = layout.BLOCK_HEAD.unpack(head)
    if (
        zero != 0
        or raw_length > layout.MAX_RAW_LENGTH
        or stored_length > layout.MAX_STORED_LENGTH
        or (codec == layout.Codec.STORED and stored_length != raw_length)
    ):
        raise CorruptSnapshot(f"{name}: no block head at offset {offset}")
    payload = offset + layout.BLOCK_HEAD.size
    if payload + stored_length > size:
        return None
    return Block(kind, codec, payload, stored_length, raw_length, crc32)


def _document(stream: BinaryIO, name: str, block: Block) -> dict[str, Any]:
    """Return the JSON object that a header or trailer holds."""
    if block.codec != layout.Codec.STORED:
        raise CorruptSnapshot(f"{name}: header or trailer is compressed")
    payload = _decode(stream, name, block)
    try:
        document = json.loads(
            payload.decode("utf-8"),
            parse_int=_whole,
            parse_float=_finite,
            parse_constant=_finite,
        )
    except (ValueError, RecursionError) as exc:
        raise CorruptSnapshot(f"{name}: header or trailer is no JSON") from exc
    if not isinstance(document, dict):
        raise CorruptSnapshot(f"{name}: header or trailer is no JSON object")
    return document


def _whole(text: str) -> int:
    """Return a whole number that every other language could hold as well."""
    if len(text) > len(str(-(2**63))) or not -(2**63) <= int(text) < 2**64:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _finite(text: str) -> float:
    """Return a number that can be calculated with, and written as JSON again."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not finite")
    return value


def _checked_trailer(trailer: dict[str, Any], name: str) -> dict[str, Any]:
    """Return `trailer` if it has what a reader needs."""
    for key, kind in (("complete", bool), ("raw_length", int), ("raw_sha256", str)):
        if not isinstance(trailer.get(key), kind):
            raise CorruptSnapshot(f"{name}: the trailer lacks {key!r}")
    return trailer


def _decode(stream: BinaryIO, name: str, block: Block) -> bytes:
    """Return the raw payload of `block`."""
    stream.seek(block.offset)
    stored = stream.read(block.stored_length)
    if len(stored) != block.stored_length:
        raise TruncatedSnapshot(f"{name} became shorter while it was read")
    if zlib.crc32(stored) != block.crc32:
        raise CorruptSnapshot(f"{name}: CRC-32 differs at offset {block.offset}")
    if block.codec == layout.Codec.STORED:
        return stored
    if block.codec == layout.Codec.ZSTD:
        return _unzstd(stored, name, block)
    raise CorruptSnapshot(f"{name}: unknown codec {block.codec}")


def _unzstd(stored: bytes, name: str, block: Block) -> bytes:
    """Return the content of one zstd frame, never more than announced."""
    # The frame's own content size comes first: zstandard allocates what it says.
    import zstandard  # noqa: PLC0415 - a stored file must be readable without it

    try:
        content_size = zstandard.frame_content_size(stored)
        if content_size not in (-1, block.raw_length):
            raise CorruptSnapshot(
                f"{name}: a zstd frame of {content_size} bytes where "
                f"{block.raw_length} were announced"
            )
        raw = zstandard.ZstdDecompressor().decompress(
            stored, max_output_size=block.raw_length, allow_extra_data=False
        )
    except zstandard.ZstdError as exc:
        raise CorruptSnapshot(
            f"{name}: bad zstd frame at offset {block.offset}: {exc}"
        ) from exc
    if len(raw) != block.raw_length:
        raise CorruptSnapshot(
            f"{name}: {len(raw)} bytes where {block.raw_length} were announced"
        )
    return raw


def _reason(exc: Exception) -> str:
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    return str(exc)
