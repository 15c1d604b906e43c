"""The verdict: what rounds of a small heap, and of a process around it, are called."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from stream_builder import GREENLET, GraphBuilder, Node

from liveheap_client.analysis import growth
from liveheap_client.analysis.graph import HeapGraph
from liveheap_client.analysis.sentence import Places, next_command

MIB = 1 << 20
PLACES = Places("4711", "round-005.liveheap", "round-*.liveheap")
Report = dict[str, Any]


def rows(b: GraphBuilder, n: int, name: str = "Row") -> list[Node]:
    kind = b.type("worker", name, ["payload"])
    return [b.instance(kind, [b.leaf("bytes", 400)]) for _ in range(n)]


def round_(
    place: int,
    n: int,
    *,
    base: int = 200,
    orphans: int = 0,
    garbage: int = 0,
    pid: int = 1,
    rss: int | None = None,
    step_s: float = 60.0,
    **memory: Any,
) -> HeapGraph:
    """Return a worker with n rows in CACHE, as of the time `place * step_s`."""
    b = GraphBuilder(base=0x7F0000000000 + place * (1 << 30))
    b.module("worker", {"CACHE": b.list(rows(b, n)), "CODE": b.list(rows(b, base))})
    for lost in rows(b, orphans, "Lost"):
        lost.refcount = 1
    for _ in range(garbage):
        one = b.list()
        one.refs = [b.list([one], 4000)]
    header = {
        "pid": pid,
        "created": 1000.0 + step_s * place,
        "rss": 20 * MIB if rss is None else rss,
        "memory": memory,
    }
    return HeapGraph.decode([b.stream()], header=header)


def told(rounds: Sequence[HeapGraph]) -> Report:
    return growth.diff(rounds).to_json(PLACES)


def of(series: Sequence[int], **how: Any) -> Report:
    return told([round_(place, n, **how) for place, n in enumerate(series)])


def kind(report: Report) -> str:
    return str(report["verdict"]["kind"])


def test_a_leak_is_one_sentence_with_its_holder_and_its_rate() -> None:
    report = of([10, 20, 30, 40, 50])

    assert kind(report) == "leak"
    assert report["verdict"]["confidence"] == "high"
    assert report["verdict"]["sentence"] == (
        "Leak: worker.CACHE (list) grew 10 -> 50 worker.Row, +262 KiB an hour, in "
        "4/4 intervals (4m 0s)."
    )
    assert report["next"] == "liveheap backrefs worker.Row round-005.liveheap"


def test_slopes_are_per_hour_however_far_apart_the_rounds_are() -> None:
    graphs = [round_(place, 10 + 10 * place) for place in (0, 1, 2, 4, 9)]
    suspect = told(graphs)["suspects"][0]

    assert suspect["slope"] == pytest.approx(600)
    assert suspect["slope_low"] == pytest.approx(600)
    assert suspect["slope_high"] == pytest.approx(600)


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        ([0, 100, 100, 100, 100], "plateau"),
        ([10, 20, 10, 20, 10, 20], "plateau"),
        ([5, 5, 5, 5], "nothing-grows"),
        ([10, 70, 100, 115, 118], "plateau"),
        ([10, 1000, 1050, 1100, 1150], "leak"),
        ([10, 20, 30], "undecided"),
    ],
)
def test_the_shape_of_a_series_decides(series: list[int], expected: str) -> None:
    assert kind(of(series)) == expected


def test_a_cache_that_fills_is_named_and_not_accused() -> None:
    sentence = of([10, 70, 100, 115, 118])["verdict"]["sentence"]

    assert sentence.startswith("No leak: plateau. worker.CACHE fills up and levels off")


def test_growth_in_bursts_leaves_it_open_and_says_where() -> None:
    report = of([100, 400, 400, 700, 700])

    assert kind(report) == "undecided"
    assert report["verdict"]["sentence"].startswith(
        "Undecided: worker.CACHE grew 100 -> 700 worker.Row"
    )
    assert report["next"] == "liveheap leaks 4711 --rounds 6 --interval 5m"


@pytest.mark.parametrize("sizes", [(1, 1, 2, 2, 4), (5, 8, 10, 12, 12)])
def test_a_buffer_that_grows_by_leaps_is_named_and_left_open(
    sizes: tuple[int, ...],
) -> None:
    def one(place: int, size: int) -> HeapGraph:
        b = GraphBuilder(base=0x7F0000000000 + place * (1 << 30))
        b.module(
            "worker", {"LOG": b.leaf("StringIO", size), "CODE": b.list(rows(b, 9))}
        )
        header = {"pid": 1, "created": 1000.0 + 60 * place, "rss": 20 * MIB}
        return HeapGraph.decode([b.stream()], header=header)

    report = told([one(place, size * MIB) for place, size in enumerate(sizes)])

    assert report["verdict"]["reasons"] == ("bursts",)
    ends = f"{sizes[0]}.0 MiB -> {sizes[-1]}.0 MiB"
    assert f"worker.LOG grew {ends}" in report["verdict"]["sentence"]


def test_objects_that_nothing_holds_are_a_reference_leak() -> None:
    graphs = [round_(place, 5, orphans=20 * place) for place in range(5)]
    report = told(graphs)

    assert kind(report) == "reference-leak"
    suspect = report["suspects"][report["verdict"]["suspect"]]
    assert (suspect["orphan"], suspect["excess_references"]) == (True, 1)
    assert "nothing holds them" in report["verdict"]["sentence"]


def test_rss_that_rises_without_objects_is_native() -> None:
    graphs = [round_(place, 5, rss=(20 + 3 * place) * MIB) for place in range(5)]

    assert kind(told(graphs)) == "native"


def test_growth_outside_the_heap_says_whose_memory_it_is() -> None:
    def with_figures(place: int) -> HeapGraph:
        graph = round_(place, 5, rss=(20 + 3 * place) * MIB)
        figures = {"malloc_used": (5 + 3 * place) * MIB, "malloc_free": MIB}
        graph.trailer.update(figures, malloc_mapped=0, pymalloc_used=9 * MIB)
        graph.trailer["pymalloc_free"] = MIB
        return graph

    report = told([with_figures(place) for place in range(5)])

    assert report["verdict"]["reasons"] == ("native",)
    assert report["verdict"]["confidence"] == "high"
    assert "12.0 MiB are native memory" in report["verdict"]["sentence"]
    assert report["next"].startswith("liveheap memory 4711 --interval 5m --walk")


def test_open_files_that_grow_are_called_by_their_kind() -> None:
    graphs = [
        round_(
            place,
            5,
            descriptors=10 + 8 * place,
            sockets=5 + 8 * place,
            descriptor_kinds={"tcp": 5 + 8 * place, "file": 5},
            remote_ports=[[6379, 5 + 8 * place]],
        )
        for place in range(5)
    ]

    assert (
        "most of them TCP connections to port 6379"
        in (told(graphs)["verdict"]["sentence"])
    )


def test_rss_that_settles_is_not() -> None:
    sizes = (20, 26, 27, 27, 27)
    graphs = [round_(place, 5, rss=size * MIB) for place, size in enumerate(sizes)]

    assert kind(told(graphs)) == "nothing-grows"


def test_a_small_suspect_beside_native_growth_is_named_and_not_blamed() -> None:
    graphs = [
        round_(place, 10 + 2 * place, rss=(20 + 30 * place) * MIB) for place in range(5)
    ]
    report = told(graphs)

    assert kind(report) == "native"
    assert "worker.CACHE" in report["verdict"]["sentence"]


def test_more_open_files_are_told_first() -> None:
    graphs = [
        round_(place, 5, descriptors=10 + 8 * place, sockets=5 + 8 * place)
        for place in range(5)
    ]
    report = told(graphs)

    assert kind(report) == "descriptors"
    assert "sockets grew 5 -> 37" in report["verdict"]["sentence"]


def test_open_files_that_come_and_go_are_not() -> None:
    graphs = [
        round_(place, 5, descriptors=n) for place, n in enumerate((10, 30, 12, 40, 15))
    ]

    assert kind(told(graphs)) == "nothing-grows"


def test_cycles_are_a_leak_where_nobody_collects() -> None:
    graphs = [
        round_(place, 5, garbage=20 * place, gc_enabled=False) for place in range(5)
    ]
    report = told(graphs)

    assert kind(report) == "leak"
    assert "gc.disable()" in report["verdict"]["sentence"]


def test_cycles_that_wait_for_the_collector_leave_it_open() -> None:
    graphs = [
        round_(place, 5, garbage=20 * place, gc_enabled=True) for place in range(5)
    ]
    report = told(graphs)

    assert kind(report) == "undecided"
    assert report["next"] == "liveheap leaks 4711 --gc"


def test_rounds_of_several_processes_leave_it_open_and_are_told_by_path() -> None:
    graphs = [round_(place, 10 + 10 * place, pid=1 + place // 3) for place in range(5)]
    report = told(graphs)

    assert kind(report) == "undecided"
    assert "different processes" in report["verdict"]["sentence"]
    assert "worker.CACHE" in report["verdict"]["sentence"]


def test_names_made_at_run_time_are_one_suspect() -> None:
    def dynamic(place: int) -> HeapGraph:
        b = GraphBuilder()
        names = {f"job_{n}": b.list((), 4000) for n in range(10 * place)}
        b.module("worker", {"START": b.list(), **names})
        header = {"pid": 1, "created": 60.0 * place}
        return HeapGraph.decode([b.stream()], header=header)

    report = told([dynamic(place) for place in range(5)])

    assert kind(report) == "leak"
    suspect = report["suspects"][0]
    assert suspect["path"] == "worker.* -> list"
    assert suspect["counts"] == (1, 11, 21, 31, 41)


def test_a_heap_that_grows_evenly_without_a_path_is_no_all_clear() -> None:
    def shifting(place: int) -> HeapGraph:
        b = GraphBuilder()
        kinds = [b.type("worker", f"Made{place}", ["x"]) for _ in range(1)]
        held = [b.instance(made, (), 40_000 * (1 + place)) for made in kinds]
        b.module("worker", {"NOW": b.list(held), "CODE": b.list(rows(b, 50))})
        header = {"pid": 1, "created": 60.0 * place}
        return HeapGraph.decode([b.stream()], header=header)

    report = told([shifting(place) for place in range(5)])

    assert kind(report) == "undecided"


def test_the_same_leak_has_one_fingerprint_and_another_has_another() -> None:
    def line(number: int, attribute: str) -> str:
        def graph(n: int) -> HeapGraph:
            b = GraphBuilder(base=0x550000000000 + number * (1 << 30))
            code = b.code("consume", f"/srv/{number}/worker.py", [attribute])
            frame = b.frame(code, number, [b.list(rows(b, n))])
            b.root(GREENLET, [("frame", frame)], number=number)
            return HeapGraph.decode([b.stream()])

        return growth.diff([graph(n) for n in (1, 2, 3, 4)]).suspects[0].fingerprint

    assert line(10, "backlog") == line(99, "backlog")
    assert line(10, "backlog") != line(10, "others")


def test_the_report_is_plain_data_with_the_names_of_the_contract() -> None:
    report = of([10, 20, 30, 40, 50])
    json.loads(json.dumps(report))

    assert {"verdict", "suspects", "rounds", "memory", "types", "rss"} <= set(report)
    assert {"ruled_out", "next", "notes", "truncated", "more_suspects"} <= set(report)
    suspect = report["suspects"][0]
    assert suspect["alloc"] is suspect["task"] is None
    assert suspect["leak_share"] == 50 * 448


def after(**places: Any) -> str:
    """Return the next command for a leak of dicts, with other places."""
    report = plain_dicts()
    return next_command(report, replace(PLACES, **places))


def plain_dicts() -> Report:
    def one(place: int, n: int) -> HeapGraph:
        b = GraphBuilder(base=0x7F0000000000 + place * (1 << 30))
        b.module("worker", {"CACHE": b.list(b.dict() for _ in range(n))})
        header = {"pid": 1, "created": 1000.0 + 60 * place, "rss": 20 * MIB}
        return HeapGraph.decode([b.stream()], header=header)

    return told([one(place, n) for place, n in enumerate([10, 20, 30, 40, 50])])


def test_the_next_command_looks_at_one_object_where_the_type_says_nothing() -> None:
    report = plain_dicts()
    example = report["suspects"][0]["example"]

    assert report["next"] == f"liveheap object {example} round-005.liveheap"
    assert after(newest=None, rounds=None) == "liveheap collections 4711"
    assert of([10, 20, 30, 40, 50])["next"].startswith("liveheap backrefs worker.Row")


def test_a_shell_is_told_what_can_be_typed_into_it() -> None:
    leak, calm = of([10, 20, 30, 40, 50]), of([50, 50, 50, 50, 50])
    here = Places("", None, None, in_shell=True)

    assert next_command(leak, here) == "backrefs worker.Row"
    assert next_command(calm, here) == "leaks --rounds 6 --interval 5m"
    kept = replace(here, newest="my round.liveheap")
    assert next_command(leak, kept) == "backrefs worker.Row 'my round.liveheap'"


def test_a_worker_that_nobody_had_to_name_is_not_named() -> None:
    leak = of([10, 20, 30, 40, 50])

    alone = next_command(leak, Places("", None, None))
    assert alone == "liveheap backrefs worker.Row"


def test_of_a_worker_that_is_gone_the_next_command_names_its_rounds() -> None:
    calm = of([50, 50, 50, 50, 50])

    gone = next_command(calm, replace(PLACES, target=None))
    assert gone == "liveheap report round-*.liveheap -o report.html"
    assert next_command(calm, Places(None, None, None)).startswith(
        "liveheap leaks TARGET"
    )


def test_a_class_speaks_for_the_dicts_that_come_with_it() -> None:
    def one(place: int, n: int) -> HeapGraph:
        b = GraphBuilder(base=0x7F0000000000 + place * (1 << 30))
        kind = b.type("worker", "Message", ["payload"])
        memo = [
            thing
            for _ in range(n)
            for thing in (b.dict(size=4000), b.instance(kind, [b.leaf("bytes", 40)]))
        ]
        b.module("worker", {"MEMO": b.list(memo)})
        header = {"pid": 1, "created": 1000.0 + 60 * place, "rss": 20 * MIB}
        return HeapGraph.decode([b.stream()], header=header)

    report = told([one(place, n) for place, n in enumerate([10, 20, 30, 40, 50])])

    assert report["suspects"][0]["type"] == "worker.Message"
    assert "grew 10 -> 50 worker.Message" in report["verdict"]["sentence"]


@pytest.mark.parametrize(("step_s", "confidence"), [(3.0, "medium"), (60.0, "high")])
def test_who_was_watched_for_seconds_is_not_cleared_for_sure(
    step_s: float, confidence: str
) -> None:
    graphs = [round_(place, 100, step_s=step_s) for place in range(4)]
    verdict = growth.diff(graphs).verdict
    assert (verdict.kind, verdict.confidence) == ("nothing-grows", confidence)
