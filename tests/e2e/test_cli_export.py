"""`liveheap export` as a user runs it: names, refusals, results."""

import json
import os
import stat
import sys
from pathlib import Path

import pytest
from command_line import liveheap

sys.path.append(str(Path(__file__).parents[1] / "unit"))

from heapsnapshot_reader import read
from stream_builder import GraphBuilder, write_snapshot

USAGE = 2
ENV = {k: v for k, v in os.environ.items() if not k.startswith("LIVEHEAP")}


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    found = []
    for number in (1, 2):
        builder = GraphBuilder()
        leaky = builder.type("app", "Leaky", ["payload"])
        rows = [builder.instance(leaky, [builder.leaf()]) for _ in range(number * 10)]
        builder.module("app", {"CACHE": builder.list(rows)})
        found.append(write_snapshot(tmp_path / f"{number}.liveheap", builder))
    return found


def test_several_snapshots_go_into_a_directory_under_their_names(
    files: list[Path], tmp_path: Path
) -> None:
    place = tmp_path / "out"

    done = liveheap("export", *files, "--format=heapsnapshot", "-o", place, env=ENV)

    names = [f"{number}.approx-ids.heapsnapshot" for number in (1, 2)]
    assert done.stdout.splitlines() == [str(place / name) for name in names]
    assert "note: ids are approximate" in done.stderr
    assert sorted(os.listdir(place)) == names
    assert stat.S_IMODE((place / names[0]).stat().st_mode) == 0o600
    counts = [len(read(place / name).named("app.Leaky")) for name in names]
    assert counts == [10, 20]


def test_what_is_there_is_replaced_only_when_told(
    files: list[Path], tmp_path: Path
) -> None:
    place = tmp_path / "heap.pb.gz"
    place.write_text("mine")
    words = ("export", files[0], "--format", "pprof", "-o", place, "--json")

    done = liveheap(*words, env=ENV, expect=USAGE)
    assert "--force-overwrite" in done.stderr
    assert place.read_text() == "mine"

    done = liveheap(*words, "--force-overwrite", env=ENV)
    (row,) = json.loads(done.stdout)["exports"]
    assert row["path"] == str(place)
    assert row["nodes"] > 10
    assert place.read_bytes()[:2] == b"\x1f\x8b"
    assert sorted(os.listdir(tmp_path)) == ["1.liveheap", "2.liveheap", "heap.pb.gz"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--format", "dot", "-o", "/dev/null"], "is none"),
        (["--format", "pprof", "--type", "T"], "--type is for --format dot"),
        (["--format", "hprof"], "'hprof' is not one of"),
    ],
)
def test_what_cannot_be_is_refused_at_once(
    files: list[Path], words: list[str], said: str
) -> None:
    done = liveheap("export", files[0], *words, env=ENV, expect=USAGE)

    assert said in done.stderr
    assert "hint: " in done.stderr


def test_two_files_of_one_name_are_refused(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    twin = tmp_path / "x" / files[0].name
    twin.write_bytes(files[0].read_bytes())

    words = ("export", files[0], twin, "--format=pprof")
    assert "the same name" in liveheap(*words, env=ENV, expect=USAGE).stderr
