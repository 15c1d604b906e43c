"""Files of one worker are put in order, those of several left as they were given."""

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from stream_builder import GraphBuilder

from liveheap.snapshot.writer import SnapshotWriter
from liveheap_client.desk import Desk
from liveheap_client.errors import UsageError
from liveheap_client.verbs.order import in_order


def file(path: Path, **header: Any) -> Path:
    raw = GraphBuilder().stream()
    with SnapshotWriter(path) as writer:
        writer.header({"pid": 1, **header})
        writer.records(0, len(raw), raw)
        digest = hashlib.sha256(raw).hexdigest()
        writer.trailer({"complete": True, "raw_length": len(raw), "raw_sha256": digest})
    return path


def ordered(*paths: Path) -> tuple[list[str], list[str]]:
    said: list[str] = []
    desk = SimpleNamespace(terminal=SimpleNamespace(say=said.append))
    return [path.name for path in in_order(cast(Desk, desk), paths)], said


def test_the_newest_given_first_is_put_last_and_that_is_said(tmp_path: Path) -> None:
    old = file(tmp_path / "old", monotonic=5.0, created=90.0)
    new = file(tmp_path / "new", monotonic=7.0, created=80.0)

    names, said = ordered(new, old)

    assert names == ["old", "new"]
    assert said == ["note: put in the order they were taken in, from old to new"]
    assert ordered(old, new) == (["old", "new"], [])


def test_files_of_two_workers_stay_as_they_are_with_a_note(tmp_path: Path) -> None:
    one = file(tmp_path / "one", pid=1, monotonic=7.0, created=80.0)
    two = file(tmp_path / "two", pid=2, monotonic=99.0, created=70.0)

    names, said = ordered(one, two)

    assert names == ["one", "two"]
    assert "oldest first" in said[0]


def test_files_that_do_not_say_when_or_cannot_be_read_stay_too(tmp_path: Path) -> None:
    silent = file(tmp_path / "silent")
    broken = tmp_path / "broken"
    broken.write_bytes(b"nothing")

    assert ordered(silent, broken) == (["silent", "broken"], [])


def test_a_file_given_twice_is_refused(tmp_path: Path) -> None:
    path = file(tmp_path / "one", created=1.0)

    with pytest.raises(UsageError, match="given twice"):
        ordered(path, tmp_path / "." / "one")
