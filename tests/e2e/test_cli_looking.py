"""Verbs that look into a snapshot: what retains it, which names, why, one object."""

import json
import os
import sys
from pathlib import Path

import pytest
from command_line import liveheap

sys.path.append(str(Path(__file__).parents[1] / "unit"))

from stream_builder import GraphBuilder, write_snapshot

OK, SAID_NO, USAGE = 0, 5, 2
ENV = {k: v for k, v in os.environ.items() if not k.startswith("LIVEHEAP")}


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    b = GraphBuilder()
    row = b.type("app", "Row", ["payload"])
    rows = [b.instance(row, [b.leaf("bytes", 1000)]) for _ in range(10)]
    b.module("app", {"CACHE": b.list(rows, size=56 + 16 * 8)})
    path = tmp_path_factory.mktemp("looking") / "one.liveheap"
    return write_snapshot(path, b, header={"pid": 1, "python": "3.12.1"})


def asked(*words: object) -> object:
    return json.loads(liveheap(*words, "--json", env=ENV).stdout)


def test_dominators_is_a_tree_with_retained_sizes(snapshot: Path) -> None:
    shown = liveheap("dominators", snapshot, env=ENV).stdout
    found = asked("dominators", snapshot, "--depth", 2)

    assert ".CACHE -> list" in shown
    assert "[*] -> app.Row  x10" in shown
    labels = [child["label"] for child in found["tree"]["children"]]
    assert "module app" in labels
    assert found["accumulation_points"][0]["label"] == "app.CACHE -> list"


def test_top_ranks_names(snapshot: Path) -> None:
    (row,) = asked("top", snapshot, "--min-size", "10K")

    assert (row["holder"], row["type"]) == ("app.CACHE", "list")
    assert row["retained"] == 184 + 10 * 1048


def test_collections_show_length_and_fill(snapshot: Path) -> None:
    (row,) = asked("collections", snapshot, "--type", "list")

    assert (row["items"], row["fill"]) == (10, 62.5)


def test_collections_of_several_files_rank_growth(snapshot: Path) -> None:
    assert asked("collections", snapshot, snapshot) == []


def test_strings_rank_equal_contents(tmp_path: Path, snapshot: Path) -> None:
    b = GraphBuilder()
    names = [b.leaf("str", 100, content="one of many names") for _ in range(5)]
    b.module("app", {"CACHE": b.list(names), "ONE": b.leaf("str", 50, content="one")})
    file = write_snapshot(tmp_path / "1.liveheap", b, header={"texts": True})

    shown = liveheap("strings", file, env=ENV).stdout
    found = asked("strings", file)
    refused = liveheap("strings", snapshot, env=ENV, expect=USAGE)

    assert shown.startswith("400 B wasted: 5 objects")
    assert "app.CACHE[*]" in shown
    assert found["wasted"] == 400
    assert [path["copies"] for path in found["paths"]] == [5]
    (row,) = found["duplicates"]
    assert (row["type"], row["copies"], row["length"]) == ("str", 5, 17)
    assert row["holders"] == [{"path": "app.CACHE[*]", "copies": 5}]
    assert asked("strings", file, "--min-size", "1K")["duplicates"] == []
    assert "liveheap snapshot --texts TARGET" in refused.stderr


def test_from_a_type_to_an_object_and_its_paths(snapshot: Path) -> None:
    of_type = asked("paths", "Row", snapshot)
    address = hex(of_type["paths"][0]["address"])
    found = asked("object", address, snapshot)
    of_object = asked("paths", address, snapshot)

    assert of_type["count"] == 10
    assert found["type"] == "app.Row"
    assert of_object["paths"][0]["steps"] == found["held_by"]
    assert found["held_by"] == ["module app", ".CACHE -> list", "[*] -> app.Row"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["paths", "Row", "--min-size", "9T"], OK, "nothing is left: --type"),
        (["top", "--min-size", "9T"], OK, "nothing is left: --type"),
        (["paths", "Rwo"], SAID_NO, "did you mean app.Row"),
        (["top", "--type", "Rwo"], SAID_NO, "did you mean app.Row"),
        (["object", "0x10"], SAID_NO, "the file it was printed from"),
        (["object", "Row"], USAGE, "liveheap paths Row"),
        (["top", "--min-size", "much"], USAGE, "is no size"),
    ],
)
def test_what_makes_no_sense_is_answered_with_what_would(
    snapshot: Path, words: list[str], code: int, says: str
) -> None:
    done = liveheap(*words, snapshot, env=ENV, expect=code)

    assert says in done.stderr


def test_the_order_of_type_and_file_is_said(snapshot: Path) -> None:
    done = liveheap("paths", snapshot, "Row", env=ENV, expect=USAGE)

    assert f"liveheap paths TYPE {snapshot}" in done.stderr
