"""Reading files that are whole, short, wrong, foreign, or out to hurt."""

import json
import struct
import zlib
from pathlib import Path

import pytest
import zstandard
from stream_builder import GraphBuilder, snapshot_bytes

from liveheap.errors import (
    CorruptSnapshot,
    SnapshotError,
    TruncatedSnapshot,
    UnsupportedVersion,
)
from liveheap.snapshot.reader import Snapshot
from liveheap.snapshot.writer import SnapshotWriter

HEAD = struct.pack("<8sHH", b"\x93LHSNAP\n", 1, 0)


def stream() -> bytes:
    builder = GraphBuilder()
    builder.module("worker", {"ROWS": builder.list([builder.leaf() for _ in range(9)])})
    return builder.stream()


def block(
    kind: int, payload: bytes, *, codec: int = 0, raw: int | None = None
) -> bytes:
    raw = len(payload) if raw is None else raw
    crc = zlib.crc32(payload)
    return struct.pack("<BBHIII", kind, codec, 0, len(payload), raw, crc) + payload


@pytest.fixture
def write(tmp_path: Path):
    def write(data: bytes) -> Path:
        path = tmp_path / "some.liveheap"
        path.write_bytes(data)
        return path

    return write


def read(path: Path, *, allow_truncated: bool = False) -> bytes:
    with Snapshot.open(path, allow_truncated=allow_truncated) as snapshot:
        return b"".join(snapshot.iter_raw())


@pytest.mark.parametrize("zstd", [False, True])
@pytest.mark.parametrize("size", [1, 50, 1 << 20])
def test_the_stream_comes_back_whatever_the_blocks(write, zstd: bool, size: int):
    data = stream()
    assert read(write(snapshot_bytes(data, zstd=zstd, block=size))) == data


def test_a_file_cut_anywhere_is_truncated_or_too_short_to_know(write):
    whole = snapshot_bytes(stream(), block=64)
    header_end = 12 + 16 + struct.unpack_from("<I", whole, 16)[0]
    for length in range(1, len(whole)):
        path = write(whole[:length])
        with pytest.raises(TruncatedSnapshot):
            Snapshot.open(path)
        if length >= header_end:
            assert stream().startswith(read(path, allow_truncated=True))


def test_a_truncated_file_says_so_and_gives_its_whole_blocks(write):
    whole = snapshot_bytes(stream(), block=64, trailer=False)
    path = write(whole[:-1])
    with Snapshot.open(path, allow_truncated=True) as snapshot:
        assert snapshot.truncated
        assert snapshot.trailer is None
        assert "interrupted" in str(snapshot.reason)
        got = b"".join(snapshot.iter_raw())
    assert len(got) % 64 == 0
    assert stream().startswith(got)


def test_an_incomplete_walk_is_truncated_for_the_workers_reason(write):
    path = write(snapshot_bytes(stream(), complete=False))
    with pytest.raises(TruncatedSnapshot, match="timeout"):
        Snapshot.open(path)
    with Snapshot.open(path, allow_truncated=True) as snapshot:
        assert snapshot.reason == "timeout"
        snapshot.verify()


@pytest.mark.parametrize(
    ("major", "advice"), [(0, "that wrote it"), (4, "pip install")]
)
def test_another_major_version_is_refused_with_advice(write, major: int, advice: str):
    data = bytearray(snapshot_bytes(stream()))
    data[8:10] = major.to_bytes(2, "little")
    with pytest.raises(UnsupportedVersion, match=rf"format {major}\.0") as caught:
        Snapshot.open(write(bytes(data)))
    assert advice in str(caught.value.hint)


def test_a_file_with_hashes_has_a_major_version_of_its_own(write):
    data = snapshot_bytes(stream(), header={"texts": True})
    assert data[8:10] == b"\2\0"
    assert read(write(data)) == stream()


def test_a_file_with_contents_has_another_which_older_readers_refuse(write, tmp_path):
    header = {"pid": 1, "scope": "values", "texts": True}
    data = snapshot_bytes(stream(), header=header)
    assert data[8:10] == b"\3\0"
    assert read(write(data)) == stream()
    with SnapshotWriter(tmp_path / "written.liveheap") as writer:
        writer.header(header)
    part = tmp_path / "written.liveheap.part"
    assert part.read_bytes()[8:10] == b"\3\0"
    assert part.stat().st_mode & 0o777 == 0o600


def test_a_higher_minor_version_may_add_keys_and_blocks(write):
    data = stream()
    whole = bytearray(snapshot_bytes(data, header={"pid": 1, "novelty": [1]}))
    whole[10:12] = (7).to_bytes(2, "little")
    at = 12 + 16 + struct.unpack_from("<I", whole, 16)[0]
    whole[at:at] = block(128, b"something new", codec=9, raw=1000)
    assert read(write(bytes(whole))) == data


@pytest.mark.parametrize(
    "junk", [b"", b"\x93", b"PNG", b"\x93LHSNAP\n\x01", b"\0" * 64]
)
def test_what_is_no_snapshot_is_a_snapshot_error(write, junk: bytes):
    with pytest.raises(SnapshotError):
        Snapshot.open(write(junk))


def test_a_missing_file_and_a_directory_are_snapshot_errors(tmp_path: Path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(SnapshotError, match="cannot open"):
            Snapshot.open(path)


def test_a_changed_payload_is_found_by_its_crc(write):
    data = bytearray(snapshot_bytes(stream()))
    data[90] ^= 1
    with pytest.raises(CorruptSnapshot):
        read(write(bytes(data)))


def test_a_block_that_was_swapped_with_a_valid_one_is_found_by_the_digest(write):
    good = snapshot_bytes(b"a" * 10)
    swapped = good.replace(block(2, b"a" * 10), block(2, b"b" * 10))
    assert swapped != good
    with pytest.raises(CorruptSnapshot, match="SHA-256"):
        read(write(swapped))


def test_a_block_that_is_missing_is_found_by_the_length(write):
    good = snapshot_bytes(b"ab", block=1)
    with pytest.raises(CorruptSnapshot, match="announces 2"):
        read(write(good.replace(block(2, b"a"), b"")))


def test_bytes_after_the_trailer_make_a_file_corrupt(write):
    with pytest.raises(CorruptSnapshot, match="follow the trailer"):
        Snapshot.open(write(snapshot_bytes(stream()) + b"\0"))


def test_lengths_above_the_limit_are_refused_before_anything_is_read(write):
    head = HEAD + block(1, b"{}")
    for stored, raw in ((5 << 20, 5 << 20), (2**32 - 1, 10), (10, 2**32 - 1)):
        with pytest.raises(CorruptSnapshot, match="no block head"):
            Snapshot.open(write(head + struct.pack("<BBHIII", 2, 1, 0, stored, raw, 0)))


def test_a_frame_that_says_more_than_its_block_is_not_decompressed(write):
    bomb = zstandard.ZstdCompressor().compress(bytes(64 << 20))
    data = HEAD + block(1, b"{}") + block(2, bomb, codec=1, raw=100)
    with pytest.raises(CorruptSnapshot, match="announced"):
        read(write(data), allow_truncated=True)


def test_a_frame_that_hides_its_size_stops_at_what_was_announced(write):
    compressor = zstandard.ZstdCompressor(write_content_size=False)
    bomb = compressor.compress(bytes(64 << 20))
    data = HEAD + block(1, b"{}") + block(2, bomb, codec=1, raw=100)
    with pytest.raises(CorruptSnapshot):
        read(write(data), allow_truncated=True)


def test_bytes_behind_a_zstd_frame_are_corrupt(write):
    frame = zstandard.ZstdCompressor().compress(b"abc") + b"more"
    data = HEAD + block(1, b"{}") + block(2, frame, codec=1, raw=3)
    with pytest.raises(CorruptSnapshot):
        read(write(data), allow_truncated=True)


@pytest.mark.parametrize(
    "payload",
    [b"[]", b"nothing", b"\xff\xfe", b"[" * 100_000, b'{"a": ' + b"9" * 10_000 + b"}"],
)
def test_a_header_that_is_no_json_object_is_corrupt(write, payload: bytes):
    with pytest.raises(CorruptSnapshot):
        Snapshot.open(write(HEAD + block(1, payload)), allow_truncated=True)


@pytest.mark.parametrize("missing", ["complete", "raw_length", "raw_sha256"])
def test_a_trailer_without_what_a_reader_needs_is_corrupt(write, missing: str):
    trailer = {"complete": True, "raw_length": 0, "raw_sha256": "0"}
    del trailer[missing]
    data = HEAD + block(1, b"{}") + block(3, json.dumps(trailer).encode())
    with pytest.raises(CorruptSnapshot, match=missing):
        Snapshot.open(write(data))


def test_unknown_kinds_and_codecs_are_corrupt(write):
    for bad in (block(4, b""), block(0, b""), block(1, b"{}")):
        with pytest.raises(CorruptSnapshot):
            Snapshot.open(write(HEAD + block(1, b"{}") + bad), allow_truncated=True)
    data = HEAD + block(1, b"{}") + block(2, b"x", codec=7)
    with pytest.raises(CorruptSnapshot, match="codec 7"):
        read(write(data), allow_truncated=True)
