"""pprof profiles: stacks of path nodes with what each has itself."""

from pathlib import Path

import pytest
from pprof_reader import Profile, read
from stream_builder import GREENLET, GraphBuilder

from liveheap_client.analysis.graph import HeapGraph
from liveheap_client.export.pprof import PprofExporter
from liveheap_client.export.protobuf import varint

TIME_NS = 1_800_000_000_500_000_000


def worker(rows: int = 3) -> GraphBuilder:
    b = GraphBuilder()
    row = b.type("app", "Row", ["text"])
    cache = b.type("app", "Cache", ["rows"])
    kept = [b.instance(row, [b.leaf("str", 60)], 48) for _ in range(rows)]
    b.module("app", {"CACHE": b.instance(cache, [b.list(kept, 88)], 56)})
    code = b.code("sync", "/app/worker.py", ["out"], first_line=40)
    b.root(GREENLET, [("frame", b.frame(code, 41, [b.list(size=64)]))], number=1)
    return b


def exported(b: GraphBuilder, place: Path, *, end: bool = True) -> Profile:
    graph = HeapGraph.decode(
        [b.stream(end=end)],
        header={"created": TIME_NS / 1e9, "program": "w.py", "pid": 7},
        allow_truncated=not end,
    )
    PprofExporter().write(graph, place, lambda *_: None)
    return read(place)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "heap.pb.gz"


def test_a_stack_is_the_path_from_the_object_to_its_root(place: Path):
    profile = exported(worker(), place)

    (rows,) = [s for s in profile.samples if s.labels.get("type") == "app.Row"]
    assert rows.stack == (
        "list[*] -> app.Row",
        "app.Cache.rows -> list",
        "app.CACHE -> app.Cache",
        "module app",
    )
    assert rows.values == {"retained_objects": 3, "retained_space": 144}
    assert rows.labels["root"] == "module app"


def test_samples_bear_their_own_bytes_so_that_sums_are_what_is_held(place: Path):
    profile = exported(worker(), place)

    assert profile.cumulative("app.Cache.rows -> list") == {
        "retained_objects": 7,
        "retained_space": 88 + 3 * (48 + 60),
    }
    assert profile.default == "retained_space"


def test_a_frame_names_its_function_and_variable(place: Path):
    stacks = [sample.stack for sample in exported(worker(), place).samples]

    assert (
        'sync() at worker.py local "out" -> list',
        "greenlet -> sync() at worker.py",
        "greenlet",
    ) in stacks


def test_what_grew_is_the_difference_of_equal_stacks(place: Path):
    old, new = exported(worker(3), place), exported(worker(8), place)

    before = {sample.stack: sample.values for sample in old.samples}
    grown = {
        sample.stack[0]: sample.values["retained_objects"] - n["retained_objects"]
        for sample in new.samples
        if (n := before[sample.stack]) != sample.values
    }

    assert grown == {"list[*] -> app.Row": 5, "app.Row.text -> str": 5}


def test_the_profile_says_where_it_is_from_and_what_is_missing(place: Path):
    profile = exported(worker(), place, end=False)

    assert profile.comments[0] == "program=w.py pid=7"
    assert any("truncated" in comment for comment in profile.comments)
    assert profile.time_ns == TIME_NS


def test_liveheaps_own_objects_stay_out_of_a_profile(place: Path):
    b = worker()
    b.module("liveheap", {"X": b.instance(b.type("liveheap", "Own"))})

    assert not [s for s in exported(b, place).strings if "liveheap" in s]


def test_hostile_names_and_sizes_survive(place: Path):
    b = GraphBuilder()
    kind = b.type("app", "Größe\x1b[31m" + "x" * 10_000)
    b.module("app", {"X": b.instance(kind, size=1 << 40)})

    (sample,) = [
        s
        for s in exported(b, place).samples
        if len(s.stack) == 2 and "Größe" in s.stack[0]
    ]

    assert sample.stack[0].endswith("x…")
    assert len(sample.stack[0]) < 300
    assert sample.values["retained_space"] == 1 << 40


def test_an_empty_heap_is_a_profile_without_samples(place: Path):
    assert exported(GraphBuilder(), place).samples == []


@pytest.mark.parametrize(
    ("value", "wire"),
    [(0, "00"), (127, "7f"), (128, "8001"), (300, "ac02"), (-1, "ff" * 9 + "01")],
)
def test_varints_are_those_of_protobuf(value: int, wire: str):
    assert varint(value).hex() == wire
