"""Growth over rounds: which paths are suspects, and what the report says."""

import json
import weakref
from collections.abc import Sequence

import numpy as np
import pytest
from stream_builder import GREENLET, INTERPRETER, THREAD, C, GraphBuilder, Node

from liveheap_client.analysis import growth
from liveheap_client.analysis.graph import HeapGraph
from liveheap_client.analysis.paths import PathNodes
from liveheap_client.analysis.trend import (
    mann_kendall_s,
    rises_throughout,
    theil_sen_slope,
)


def rows(b: GraphBuilder, n: int) -> list[Node]:
    kind = b.type("worker", "Row", ["payload"])
    return [b.instance(kind, [b.leaf("bytes", 100)]) for _ in range(n)]


def cache(n: int, *, base: int = 0x7F0000000000, rss: int | None = None) -> HeapGraph:
    """Return a worker whose CACHE keeps n rows under keys that are data."""
    b = GraphBuilder(base=base)
    held = b.dict((b.leaf("str", 60), row) for row in rows(b, n))
    made = b.instance(b.type("worker", "Cache", ["rows"]), [held])
    b.module("worker", {"CACHE": made, "CONFIG": b.list(rows(b, 3))})
    header = {"pid": 1, "created": 5.0, "rss": rss}
    return HeapGraph.decode([b.stream()], header=header)


def registered(n: int) -> HeapGraph:
    """Return a worker with n heavy rows that a registry knows, too, and some light."""
    b = GraphBuilder()
    kind = b.type("worker", "Heavy", ["payload"])
    entry = b.type("worker", "Entry", ["payload", "row"])
    payloads = [b.leaf("bytes", 10_000) for _ in range(n)]
    heavy = [b.instance(kind, [each]) for each in payloads]
    known = [b.instance(entry, [*pair]) for pair in zip(payloads, heavy, strict=True)]
    names = {
        "CACHE": b.list(heavy),
        "REGISTRY": b.list(known),
        "LIGHT": b.list(rows(b, 3 * n + n % 7)),
    }
    b.module("worker", names)
    return HeapGraph.decode([b.stream()])


def test_what_goes_along_with_a_suspect_takes_no_share_of_it():
    report = growth.diff([registered(n) for n in (40, 50, 62, 71, 80)])
    first = report.suspects[0]
    assert first.holder in ("worker.CACHE", "worker.REGISTRY")
    assert first.echoes
    assert first.leak_share is not None
    assert first.leak_share > 80 * 10_000


def test_what_is_beyond_the_cap_is_neither_a_suspect_nor_a_holder():
    series = growth.Series()
    for n in (100, 120, 150, 190):
        graph = cache(n)
        series.add(graph, PathNodes.of(graph, max_nodes=3))
    report = series.report()
    assert report.truncated
    assert report.verdict.kind != "leak"
    assert not [s for s in report.suspects if "beyond" in f"{s.path} {s.holder}"]
    assert any("different paths" in note for note in report.notes)


def counted(series: Sequence[int]) -> growth.GrowthReport:
    return growth.diff([cache(n) for n in series])


@pytest.mark.parametrize(
    ("series", "s", "slope", "rises"),
    [
        ([10, 12, 15, 19], 6, 3.0, True),
        ([0, 100, 100, 100], 3, 16.666666666666664, False),
        ([10, 20, 10, 20, 10, 20], 3, 0.0, False),
        ([5, 5, 5, 5], 0, 0.0, False),
        ([7], 0, 0.0, False),
    ],
)
def test_worked_examples_of_trend(series, s: int, slope: float, rises: bool):
    assert mann_kendall_s(series) == s
    assert theil_sen_slope(series) == pytest.approx(slope)
    assert rises_throughout(series) is rises


def test_the_first_suspect_is_the_row_by_the_path_of_its_cache():
    report = counted([10, 12, 15, 19])
    first = report.suspects[0]
    assert first.path == "worker.CACHE.rows[*] -> worker.Row"
    assert first.type == "worker.Row"
    assert first.counts == (10, 12, 15, 19)
    assert first.growth_per_round == 3.0
    assert first.retaining_path == (
        "module worker",
        ".CACHE -> worker.Cache",
        ".rows -> dict",
        "[*] -> worker.Row",
    )


def test_only_the_topmost_growing_path_is_a_suspect():
    assert [s.path for s in counted([1, 2, 3, 4]).suspects] == [
        "worker.CACHE.rows[*] -> worker.Row"
    ]


def test_a_suspect_bears_the_bytes_of_its_parts_and_of_its_keys():
    assert counted([1, 2]).suspects[0].bytes == (48 + 100 + 60, 2 * (48 + 100 + 60))


def test_keys_alone_are_a_suspect_if_their_values_are_not():
    def seen(n: int) -> HeapGraph:
        b = GraphBuilder()
        true = b.leaf("bool", 28, refcount=0)
        held = b.dict((b.leaf("str", 60), true) for _ in range(n))
        b.module("worker", {"SEEN": held})
        return HeapGraph.decode([b.stream()])

    (only,) = growth.diff([seen(n) for n in (1, 2, 3)]).suspects
    assert only.path == "worker.SEEN{key} -> str"


@pytest.mark.parametrize(
    "series", [[0, 100, 100, 100], [10, 20, 10, 20], [5, 5, 5, 5], [9, 5, 3, 1]]
)
def test_what_does_not_grow_in_every_interval_is_no_suspect(series):
    report = counted(series)
    assert report.suspects == ()
    assert report.verdict.kind in ("plateau", "nothing-grows")


def test_half_of_the_rows_replaced_at_other_addresses_is_no_growth():
    graphs = [cache(50, base=0x7F0000000000 + i * 48 * 60) for i in range(4)]
    assert growth.diff(graphs).suspects == ()


def test_a_leaks_place_in_memory_does_not_matter():
    graphs = [cache(10 + i, base=0x550000000000 + (i << 30)) for i in range(4)]
    assert growth.diff(graphs).suspects[0].counts == (10, 11, 12, 13)


def test_two_rounds_are_a_comparison_and_the_report_says_so():
    report = counted([1, 2])
    assert report.verdict.kind == "undecided"
    assert "comparison" in report.notes[0]
    assert counted([10, 20, 30, 40]).verdict.kind == "leak"


def test_less_than_two_rounds_cannot_be_compared():
    with pytest.raises(ValueError, match="two rounds"):
        growth.diff([cache(1)])


def test_a_linked_list_that_grows_is_one_suspect():
    def links(n: int) -> HeapGraph:
        b = GraphBuilder()
        kind = b.type("worker", "Link", ["next"])
        head = b.instance(kind, [None])
        for _ in range(n):
            head = b.instance(kind, [head])
        b.module("worker", {"HEAD": head})
        return HeapGraph.decode([b.stream()])

    report = growth.diff([links(1000 * n) for n in (1, 2, 3, 4)])
    (only,) = report.suspects
    assert only.path == "worker.HEAD.next -> worker.Link"
    assert only.growth_per_round == 1000


def test_more_greenlets_are_told_by_what_their_locals_hold():
    def greenlets(n: int) -> HeapGraph:
        b = GraphBuilder()
        code = b.code("ask_partner", "/app/worker.py", ["outgoing"])
        for number in range(n):
            frame = b.frame(code, 12, [b.list(rows(b, 2))])
            b.root(GREENLET, [("frame", frame)], number=number)
        return HeapGraph.decode([b.stream()])

    (only,) = growth.diff([greenlets(n) for n in (3, 5)]).suspects
    frame = "greenlet -> ask_partner() at worker.py:12"
    assert only.path == f'{frame} local "outgoing" -> list'
    assert only.fingerprint_text == "greenlet -> ask_partner() at worker.py"
    assert only.waits_in == "ask_partner() at worker.py:12"
    assert only.counts == (3, 5)
    of_one = 96 + 88 + 2 * 148
    assert only.bytes == (3 * of_one, 5 * of_one)
    contents = {c.type: c.gained for c in only.contents}
    assert contents == {"bytes": 4, "worker.Row": 4, "list": 2, "frame": 2}


def test_a_list_that_grows_in_the_local_of_one_greenlet_is_held_by_that_variable():
    def greenlet(n: int) -> HeapGraph:
        b = GraphBuilder()
        code = b.code("consume", "/app/worker.py", ["backlog"])
        frame = b.frame(code, 12, [b.list(rows(b, n))])
        b.root(GREENLET, [("frame", frame)], number=1)
        return HeapGraph.decode([b.stream()])

    (only,) = growth.diff([greenlet(n) for n in (3, 5, 8, 9)]).suspects
    assert only.holder == 'greenlet -> consume() at worker.py:12 local "backlog"'
    assert only.counts == (3, 5, 8, 9)


def test_more_frames_that_hold_nothing_are_suspects_themselves():
    def threads(n: int) -> HeapGraph:
        b = GraphBuilder()
        code = b.code("wait", "/app/worker.py")
        for number in range(n):
            b.root(THREAD, [("frame", b.frame(code, 5))], number=number)
        return HeapGraph.decode([b.stream()])

    (only,) = growth.diff([threads(n) for n in (1, 2)]).suspects
    assert only.path == "thread -> wait() at worker.py:5"


def test_suspects_are_ranked_by_the_bytes_they_gained():
    def two(n: int) -> HeapGraph:
        b = GraphBuilder()
        small = b.list(b.leaf("bytes", 40) for _ in range(n * 10))
        large = b.list(b.leaf("bytearray", 4000) for _ in range(n))
        b.module("worker", {"SMALL": small, "LARGE": large})
        return HeapGraph.decode([b.stream()])

    assert [s.path for s in growth.diff([two(1), two(2)]).suspects] == [
        "worker.LARGE[*] -> bytearray",
        "worker.SMALL[*] -> bytes",
    ]


def test_a_single_new_object_stands_behind_a_path_that_grew():
    def round_(n: int) -> HeapGraph:
        b = GraphBuilder()
        b.text("BIG")
        held = {"ROWS": b.list(b.leaf("bytes", 40) for _ in range(n))}
        if n > 1:
            held["BIG"] = b.leaf("bytearray", 10_000_000)
        b.module("worker", held)
        return HeapGraph.decode([b.stream()])

    assert [s.path for s in growth.diff([round_(1), round_(2)]).suspects] == [
        "worker.ROWS[*] -> bytes",
        "worker.BIG -> bytearray",
    ]


def test_the_interpreters_caches_are_no_suspects():
    def warm(n: int) -> HeapGraph:
        b = GraphBuilder()
        b.module("worker", {"ROWS": b.list(rows(b, n))})
        cache = b.list(b.leaf("str", 5000) for _ in range(n))
        b.root(C, [("type_cache", cache)])
        return HeapGraph.decode([b.stream()])

    suspects = growth.diff([warm(n) for n in (2, 3, 4, 5)]).suspects
    assert [s.path for s in suspects] == ["worker.ROWS[*] -> worker.Row"]


def test_a_list_of_the_interpreters_own_is_named_as_the_holder():
    def registered(n: int) -> HeapGraph:
        b = GraphBuilder()
        b.root(INTERPRETER, [("atexit", row) for row in rows(b, n)])
        b.module("worker", {})
        return HeapGraph.decode([b.stream()])

    only = growth.diff([registered(n) for n in (2, 3, 4, 5)]).suspects[0]
    assert only.path == "interpreter.atexit -> worker.Row"
    assert only.holder == "interpreter.atexit"


def test_garbage_is_no_suspect_but_is_noted():
    def cycles(n: int) -> HeapGraph:
        b = GraphBuilder()
        for _ in range(n):
            one = b.list()
            one.refs = [b.list([one])]
        b.module("worker", {})
        return HeapGraph.decode([b.stream()])

    report = growth.diff([cycles(5), cycles(50)])
    assert report.suspects == ()
    assert any("--gc" in note for note in report.notes)


def test_liveheaps_own_growth_is_not_reported():
    def own(n: int) -> HeapGraph:
        b = GraphBuilder()
        b.module("liveheap.agent", {"history": b.list(rows(b, n))})
        b.module("worker", {})
        return HeapGraph.decode([b.stream()])

    report = growth.diff([own(1), own(2)])
    assert report.suspects == ()
    assert "worker.Row" not in {row.type for row in report.types}


def test_types_are_counted_in_every_round_and_ranked_by_growth():
    report = counted([2, 4, 8])
    row = next(r for r in report.types if r.type == "worker.Row")
    assert row.counts == (5, 7, 11)
    assert row.bytes == (240, 336, 528)
    assert report.types[0].type == "bytes"


def test_rss_comes_from_the_headers_or_from_the_caller():
    graphs = [cache(1, rss=100), cache(2, rss=250)]
    assert growth.diff(graphs).rss == (100, 250)
    assert growth.diff(graphs, rss=[1, None]).rss == (1, None)


def test_the_json_form_has_what_the_contract_names():
    report = counted([1, 2, 3, 4]).to_json()
    json.loads(json.dumps(report))
    assert {"rounds", "suspects", "types", "rss", "verdict", "notes"} <= set(report)
    assert len(report["rounds"]) == 4
    assert {
        "path",
        "type",
        "counts",
        "bytes",
        "growth_per_round",
        "retaining_path",
    } <= set(report["suspects"][0])


def test_rounds_may_be_added_as_they_come():
    series = growth.Series()
    for n in (1, 2, 3):
        series.add(cache(n))
        assert len(series) == n
    assert series.report() == counted([1, 2, 3])


def test_a_graph_is_free_once_its_round_is_added():
    series = growth.Series()
    for n in (1, 2):
        graph = cache(n)
        freed = weakref.ref(graph), weakref.ref(graph.address)
        series.add(graph)
        del graph
        assert [ref() for ref in freed] == [None, None]
    table = series._rounds[-1].table
    for name in table.__slots__:
        assert not isinstance(getattr(table, name).base, memoryview)
    assert series.report().suspects[0].retaining_path[0] == "module worker"


def test_an_iterator_of_graphs_is_compared_with_one_graph_in_memory():
    alive: list[weakref.ref[HeapGraph]] = []

    def make(n: int) -> HeapGraph:
        assert [ref() for ref in alive] == [None] * len(alive)
        graph = cache(n)
        alive.append(weakref.ref(graph))
        return graph

    assert growth.diff(map(make, (1, 2, 3))) == counted([1, 2, 3])


def test_a_path_down_thousands_of_links_is_told_by_its_ends():
    b = GraphBuilder()
    kind = b.type("worker", "Link", ["next", "payload"])
    link = b.instance(kind, [None, b.leaf("bytes")])
    for _ in range(20_000):
        link = b.instance(kind, [link, None])
    b.module("worker", {"HEAD": link})
    graph = HeapGraph.decode([b.stream()])
    paths = PathNodes.of(graph)
    deepest = int(np.flatnonzero(graph.type == b.builtin("bytes").id)[0])
    lines = paths.retaining_path(deepest)
    assert lines[:4] == [
        "module worker",
        ".HEAD -> worker.Link",
        ".next -> worker.Link",
        "(many more steps like these)",
    ]
    assert lines[-2:] == [".next -> worker.Link", ".payload -> bytes"]
    assert len(lines) < 30


def test_different_processes_are_noted():
    other = HeapGraph.decode([GraphBuilder().stream()], header={"pid": 2})
    notes = growth.diff([cache(1), other]).notes
    assert any("different processes" in note for note in notes)


def test_no_key_that_is_data_is_in_the_report():
    b = GraphBuilder()
    secret = b.leaf("str", 60)
    b.module("worker", {"CACHE": b.dict([(secret, b.leaf())])})
    graph = HeapGraph.decode([b.stream()])
    text = json.dumps(growth.diff([graph, graph]).to_json())
    assert str(secret.address) not in text
