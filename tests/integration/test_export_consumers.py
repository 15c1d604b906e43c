"""What `liveheap export` writes of a real worker, read by those it is written for.

DevTools' engine runs where node and npm are, `go tool pprof` where go is; without them
their tests are skipped, and what stands in tests/unit holds the files to their formats.
"""

import gzip
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from command_line import liveheap
from spawn import Stage

sys.path.append(str(Path(__file__).parents[1] / "exports"))
sys.path.append(str(Path(__file__).parents[1] / "unit"))

import consumers
import heapsnapshot_reader
import pprof_reader
import samples

from liveheap_client.export.heapsnapshot import HeapsnapshotExporter

SECRET = "quetzalcoatlus"
LEAKED = "__main__.Leaked"


@dataclass(frozen=True)
class Pair:
    """Two snapshots of one worker, 2,000 leaked objects apart."""

    files: list[Path]
    env: dict[str, str]

    def export(self, format_name: str) -> list[Path]:
        """Export both; return what was written."""
        place = self.files[0].parent / format_name
        words = ("export", *self.files, "--format", format_name, "--json")
        done = liveheap(*words, "-o", place, env=self.env)
        return [Path(row["path"]) for row in json.loads(done.stdout)["exports"]]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    stage = Stage()
    try:
        worker = stage.spawn("canaries", SECRET)
        worker.wait_for_socket()
        directory = tmp_path_factory.mktemp("pair")
        env = {**worker.environ, "HOME": str(directory)}
        files = []
        for name in ("old", "new"):
            files.append(directory / f"{name}.liveheap")
            liveheap("snapshot", worker.pid, "-o", files[-1], env=env)
            worker.say("more")
        yield Pair(files, env)
    finally:
        stage.close()


@pytest.fixture(scope="module")
def heapsnapshots(pair: Pair) -> list[Path]:
    return pair.export("heapsnapshot")


@pytest.fixture(scope="module")
def profiles(pair: Pair) -> list[Path]:
    return pair.export("pprof")


def devtools(*files: Path) -> dict[str, Any]:
    try:
        return consumers.devtools(*files)
    except consumers.Missing as exc:
        pytest.skip(str(exc))


def test_a_comparison_by_id_adds_what_leaked_and_removes_none(
    heapsnapshots: list[Path],
) -> None:
    old, new = (
        {node.id: node.name for node in heapsnapshot_reader.read(file).nodes}
        for file in heapsnapshots
    )

    added = Counter(new[id_] for id_ in new.keys() - old.keys())
    removed = Counter(old[id_] for id_ in old.keys() - new.keys())

    assert (added[LEAKED], removed[LEAKED]) == (2000, 0)


def test_devtools_compares_two_snapshots_of_a_worker(heapsnapshots: list[Path]) -> None:
    found = devtools(*heapsnapshots)

    assert found["complaints"] == []
    assert found["diff"][LEAKED]["added"] == 2000
    assert found["diff"][LEAKED]["removed"] == 0
    assert [one["classes"][LEAKED]["count"] for one in found["files"]] == [2000, 4000]


def test_devtools_reads_the_minimal_file_to_the_byte(tmp_path: Path) -> None:
    place = tmp_path / "minimal.heapsnapshot"
    samples.write_minimal(place, more="lone \udc80 ]")

    found = devtools(place)

    (file,) = found["files"]
    retained = {name: row["retained"] for name, row in file["classes"].items()}
    assert (found["complaints"], file["total"]) == ([], 352)
    assert (retained["module app"], retained["dict"]) == (352, 280)
    assert retained["app.Leaky"] == 48


def test_devtools_would_complain_of_what_it_cannot_reach(tmp_path: Path) -> None:
    place = tmp_path / "broken.heapsnapshot"
    samples.write_minimal(place)
    text = place.read_text()
    assert "3,2,14" in text
    place.write_text(text.replace("3,2,14", "6,2,14"))

    (complaint,) = devtools(place)["complaints"]

    assert "3 nodes are unreachable" in complaint


def test_devtools_bears_heaps_that_are_hard_to_export(tmp_path: Path) -> None:
    places = {name: tmp_path / f"{name}.heapsnapshot" for name in samples.TRAPS}
    for name, make in samples.TRAPS.items():
        samples.export(HeapsnapshotExporter(), make(), places[name])

    found = devtools(*places.values())

    assert found["complaints"] == []
    files = dict(zip(places, found["files"], strict=True))
    assert files["cycle"]["classes"]["app.Node"]["count"] == 2
    assert files["giant"]["total"] == 0xFFFF_FFFF
    assert files["empty"]["nodes"] == 2
    known = files["names"]["classes"]
    assert all(known[f"app.{name}"]["count"] == 1 for name in samples.HOSTILE)
    assert f"app.{samples.LONG[:255]}…" in known


def test_a_profile_of_growth_names_what_leaked(profiles: list[Path]) -> None:
    old, new = map(pprof_reader.read, profiles)
    function = f"list[*] -> {LEAKED}"

    counts = [one.cumulative(function)["retained_objects"] for one in (old, new)]

    alone = [
        sample.values["retained_objects"]
        for sample in new.samples
        if sample.stack[:3] == (function, "__main__.CACHE -> list", "module __main__")
    ]
    assert alone == [4000]
    assert counts[1] - counts[0] >= 2000


def test_go_tool_pprof_says_what_grew(profiles: list[Path]) -> None:
    old, new = profiles
    try:
        shown = consumers.pprof(
            *("-sample_index=retained_objects", "-top", "-base", old, new)
        )
    except consumers.Missing as exc:
        pytest.skip(str(exc))

    (line,) = [one for one in shown.splitlines() if one.endswith(f"-> {LEAKED}")]
    assert line.split()[0] == "2000"


def test_duckdb_counts_what_leaked_by_its_path(pair: Pair) -> None:
    duckdb = pytest.importorskip("duckdb", reason="the group `tables` is missing")

    old, new = pair.export("parquet")

    path = f"__main__.CACHE[*] -> {LEAKED}"
    sql = f"select count(*) from '{{}}/nodes.parquet' where path = '{path}'"
    counts = [duckdb.sql(sql.format(one)).fetchall() for one in (old, new)]
    assert counts == [[(2000,)], [(4000,)]]
    for table, columns in {
        "nodes": "type, path, root",
        "edges": "name",
        "types": "type, module, qualname",
    }.items():
        texts = duckdb.sql(f"select {columns} from '{new}/{table}.parquet'").fetchall()
        assert SECRET not in str(set(texts))


def test_no_value_of_the_worker_is_in_any_file(
    pair: Pair, heapsnapshots: list[Path], profiles: list[Path]
) -> None:
    (*_, dot) = pair.export("dot")
    read = [heapsnapshots[1].read_bytes(), gzip.decompress(profiles[1].read_bytes())]
    read.append(dot.read_bytes())

    assert all(b"Leaked" in data for data in read)
    assert not any(SECRET.encode() in data for data in read)


def test_a_live_worker_is_exported_under_its_pid(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    # The worker of this environment is the only one there is.
    done = liveheap("export", "--format", "dot", env=pair.env)

    (name,) = os.listdir(tmp_path)
    assert done.stdout == f"{name}\n"
    assert name.endswith(".dot")
    assert LEAKED in (tmp_path / name).read_text()
