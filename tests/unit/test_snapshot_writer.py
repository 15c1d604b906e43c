"""The writer's promise: a file under its name is whole, or there is none."""

import hashlib
import os
import stat
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from liveheap.errors import CorruptSnapshot, SnapshotError
from liveheap.snapshot.reader import Snapshot
from liveheap.snapshot.writer import SnapshotWriter

RAW = b"\x17\x03abc" * 100


def trailer(**changes: object) -> dict[str, object]:
    digest = hashlib.sha256(RAW).hexdigest()
    return {"complete": True, "raw_length": len(RAW), "raw_sha256": digest, **changes}


def test_a_finished_file_reads_back_and_leaves_no_part(tmp_path: Path):
    path = tmp_path / "a.liveheap"
    with SnapshotWriter(path) as writer:
        writer.header({"pid": 7})
        writer.records(0, len(RAW), RAW)
        writer.trailer(trailer())
    assert os.listdir(tmp_path) == ["a.liveheap"]
    with Snapshot.open(path) as snapshot:
        assert snapshot.header == {"pid": 7}
        assert b"".join(snapshot.iter_raw()) == RAW


@pytest.mark.parametrize(
    ("header", "major"), [({}, 1), ({"texts": False}, 1), ({"texts": True}, 2)]
)
def test_the_header_decides_the_version(
    tmp_path: Path, header: dict[str, object], major: int
):
    path = tmp_path / "a.liveheap"
    with SnapshotWriter(path) as writer:
        writer.header(header)
        writer.records(0, len(RAW), RAW)
        writer.trailer(trailer())
    assert path.read_bytes()[8:12] == bytes((major, 0, 0, 0))


def test_only_the_owner_may_read_it(tmp_path: Path):
    path = tmp_path / "a.liveheap"
    old = os.umask(0)
    try:
        with SnapshotWriter(path) as writer:
            assert stat.S_IMODE(os.stat(writer.part).st_mode) == 0o600
            writer.header({})
            writer.records(0, len(RAW), RAW)
            writer.trailer(trailer())
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_interrupted_file_is_a_truncated_part(tmp_path: Path):
    path = tmp_path / "a.liveheap"

    def interrupted() -> None:
        with SnapshotWriter(path) as writer:
            writer.header({"pid": 7})
            writer.records(0, len(RAW), RAW)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not path.exists()
    with Snapshot.open(f"{path}.part", allow_truncated=True) as snapshot:
        assert snapshot.truncated
        assert b"".join(snapshot.iter_raw()) == RAW


def test_without_a_header_nothing_stays(tmp_path: Path):
    SnapshotWriter(tmp_path / "a.liveheap").close()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("change", [{"raw_length": 1}, {"raw_sha256": "00"}])
def test_what_does_not_verify_gets_no_name(tmp_path: Path, change: dict[str, object]):
    path = tmp_path / "a.liveheap"
    path.write_text("an older file")
    with SnapshotWriter(path) as writer:
        writer.header({})
        writer.records(0, len(RAW), RAW)
        with pytest.raises(CorruptSnapshot):
            writer.trailer(trailer(**change))
    assert path.read_text() == "an older file"


def test_a_chunk_that_was_damaged_on_its_way_gets_no_name(tmp_path: Path):
    path = tmp_path / "a.liveheap"
    with SnapshotWriter(path) as writer:
        writer.header({})
        writer.records(1, len(RAW), b"this is no zstd frame")
        with pytest.raises(SnapshotError):
            writer.trailer(trailer())
    assert not path.exists()


def test_a_damaged_chunk_is_noticed_long_before_the_end(tmp_path: Path):
    path = tmp_path / "a.liveheap"
    with SnapshotWriter(path) as writer:
        writer.header({})
        writer.records(1, len(RAW), b"this is no zstd frame")
        writer.records(0, len(RAW), RAW)
        with pytest.raises(SnapshotError, match="zstd"):
            writer.records(0, len(RAW), RAW)
    assert not path.exists()


def test_a_part_that_changed_under_the_writer_gets_no_name(tmp_path: Path):
    path = tmp_path / "a.liveheap"
    with SnapshotWriter(path) as writer:
        writer.header({})
        writer.records(0, len(RAW), RAW)
        with open(writer.part, "r+b") as part:
            part.seek(-len(RAW) - 4, os.SEEK_END)
            part.write(b"crc?")
        with pytest.raises(SnapshotError, match="changed"):
            writer.trailer(trailer())
    assert not path.exists()


def test_an_older_part_is_replaced_and_a_link_not_followed(tmp_path: Path):
    path = tmp_path / "a.liveheap"
    victim = tmp_path / "victim"
    victim.write_text("precious")
    Path(f"{path}.part").symlink_to(victim)
    SnapshotWriter(path).close()
    assert victim.read_text() == "precious"


def test_calls_out_of_order_are_refused(tmp_path: Path):
    with SnapshotWriter(tmp_path / "a.liveheap") as writer:
        with pytest.raises(ValueError, match="order"):
            writer.records(0, 1, b"a")
        writer.header({})
        with pytest.raises(ValueError, match="order"):
            writer.header({})


def test_a_block_above_the_limit_is_refused(tmp_path: Path):
    with SnapshotWriter(tmp_path / "a.liveheap") as writer:
        writer.header({})
        with pytest.raises(ValueError, match="limit"):
            writer.records(1, (4 << 20) + 1, b"")


def test_incomplete_walks_are_kept_under_their_name_and_say_so(tmp_path: Path):
    path = tmp_path / "a.liveheap"
    with SnapshotWriter(path) as writer:
        writer.header({})
        writer.records(0, len(RAW), RAW)
        writer.trailer(trailer(complete=False, reason="timeout"))
    with Snapshot.open(path, allow_truncated=True) as snapshot:
        assert snapshot.reason == "timeout"


def test_payloads_may_be_views(tmp_path: Path):
    path = tmp_path / "a.liveheap"
    with SnapshotWriter(path) as writer:
        writer.header({})
        writer.records(0, len(RAW), memoryview(RAW))
        writer.trailer(trailer())
    assert zlib.crc32(RAW).to_bytes(4, "little") in path.read_bytes()


def test_a_stored_file_is_read_without_zstandard_and_numpy(tmp_path: Path):
    path = tmp_path / "a.liveheap"
    with SnapshotWriter(path) as writer:
        writer.header({})
        writer.records(0, len(RAW), RAW)
        writer.trailer(trailer())
    program = (
        "import sys; from liveheap.snapshot.reader import Snapshot; "
        "from liveheap.snapshot.writer import SnapshotWriter; "
        f"Snapshot.open({str(path)!r}).verify(); "
        "sys.exit(bool({'zstandard', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
