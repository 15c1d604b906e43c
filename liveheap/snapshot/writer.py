"""Write a snapshot file that is either whole or not there.

The bytes go to `NAME.part`, readable by its owner only. All of it is read back from
there and checked before it gets its name: the records block by block as they come, on
a thread of their own, so that who sends them waits for nothing but the disk; the frame
and the whole at the end. If anything comes between, what arrived stays in `NAME.part`:
a truncated snapshot, which a reader opens when told to, and never a short file under
the final name.

The writer takes record blocks as they come off the wire, compressed or not.
"""

from __future__ import annotations

import json
import os
import zlib
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Any

from liveheap.snapshot import format as layout
from liveheap.snapshot.reader import Block, Check, Snapshot

MOST_UNREAD = 2


class SnapshotWriter:
    """One file in the making; a context manager.

    Order of calls: `header` once, `records` any number of times, `trailer` once.

    Raises:
        OSError: the file cannot be made, or the disk is full.
        SnapshotError: from `trailer`, or from a later `records`, if what was written
            does not read back.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.part = self.path + ".part"
        self._stage = layout.BlockKind.HEADER
        with suppress(FileNotFoundError):
            os.unlink(self.part)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._stream = os.fdopen(os.open(self.part, flags, 0o600), "wb")
        self._written = open(self.part, "rb")  # noqa: SIM115 - `close` closes it
        self._check = Check(self._written, self.part)
        self._reader = ThreadPoolExecutor(1, "liveheap-read-back")
        self._unread: deque[Future[bytes]] = deque()

    def header(self, header: Mapping[str, Any]) -> None:
        """Write the file's version, which the header decides, and the header block."""
        self._expect(layout.BlockKind.HEADER)
        major = layout.MAJOR_WITH_HASHES if header.get("texts") else layout.MAJOR
        if header.get("scope") == "values":
            major = layout.MAJOR_WITH_PREVIEWS
        self._stream.write(layout.FILE_HEAD.pack(layout.MAGIC, major, layout.MINOR))
        self._document(layout.BlockKind.HEADER, header)
        self._stream.flush()
        self._stage = layout.BlockKind.RECORDS

    def records(
        self, codec: int, raw_length: int, stored: bytes | bytearray | memoryview
    ) -> None:
        """Write one block of records, as it is."""
        self._expect(layout.BlockKind.RECORDS)
        block = self._block(layout.BlockKind.RECORDS, codec, raw_length, stored)
        self._stream.flush()
        self._unread.append(self._reader.submit(self._check.block, block))
        self._read_back(MOST_UNREAD)

    def trailer(self, trailer: Mapping[str, Any]) -> None:
        """Write the trailer, check the file, and give it its name."""
        self._expect(layout.BlockKind.RECORDS)
        self._document(layout.BlockKind.TRAILER, trailer)
        self._stage = layout.BlockKind.TRAILER
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._read_back(0)
        with Snapshot.open(self.part, allow_truncated=True) as snapshot:
            snapshot.verify(self._check)
        self._stream.close()
        os.replace(self.part, self.path)

    def close(self) -> None:
        """Stop. Without a trailer the records so far stay in the part file."""
        if self._written.closed:
            return
        self._reader.shutdown(cancel_futures=True)
        self._written.close()
        self._stream.close()
        if self._stage is layout.BlockKind.HEADER:
            os.unlink(self.part)

    def __enter__(self) -> SnapshotWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _read_back(self, unread: int) -> None:
        """Wait until no more blocks than that are still to be read back."""
        while len(self._unread) > unread:
            self._unread.popleft().result()

    def _expect(self, stage: layout.BlockKind) -> None:
        if self._stage is not stage:
            raise ValueError(
                f"a {stage.name.lower()} block cannot come here; the order is "
                f"header, records, trailer"
            )

    def _document(self, kind: layout.BlockKind, document: Mapping[str, Any]) -> None:
        payload = json.dumps(dict(document), sort_keys=True).encode()
        self._block(kind, layout.Codec.STORED, len(payload), payload)

    def _block(
        self,
        kind: int,
        codec: int,
        raw_length: int,
        stored: bytes | bytearray | memoryview,
    ) -> Block:
        if raw_length > layout.MAX_RAW_LENGTH or len(stored) > layout.MAX_STORED_LENGTH:
            raise ValueError(f"a block of {raw_length} bytes is above the limit")
        crc32 = zlib.crc32(stored)
        self._stream.write(
            layout.BLOCK_HEAD.pack(kind, codec, 0, len(stored), raw_length, crc32)
        )
        offset = self._stream.tell()
        self._stream.write(stored)
        return Block(kind, codec, offset, len(stored), raw_length, crc32)
