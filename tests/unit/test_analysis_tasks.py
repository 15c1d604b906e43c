"""Task labels: which paths say for whom they hold, and who is said to leave memory."""

from typing import Any

import pytest
from stream_builder import GREENLET, THREAD, GraphBuilder, Node

from liveheap_client.analysis import growth
from liveheap_client.analysis.graph import HeapGraph
from liveheap_client.analysis.paths import PathNodes
from liveheap_client.analysis.tasks import Figures, figures_of, main_leaver

IMPORT = {"kind": "celery", "name": "shop.import_orders", "id": "7f3c", "seconds": 2.5}


def frame(b: GraphBuilder, function: str, *kept: Node) -> Node:
    names = [f"local_{number}" for number in range(len(kept))]
    return b.frame(b.code(function, "/srv/shop.py", names), 41, kept)


def greenlet(b: GraphBuilder, number: int, *frames: Node) -> Node:
    """Add a suspended greenlet; its frames innermost first."""
    made = b.instance(b.type("gevent", "Greenlet"))
    refs = [("greenlet", made), *(("frame", each) for each in frames)]
    b.root(GREENLET, refs, number=number)
    return made


def main_thread(b: GraphBuilder, *frames: Node, number: int = 99) -> Node:
    return b.root(THREAD, [("frame", f) for f in frames], number=number, flags=1)


def label(task: dict[str, Any] = IMPORT, **place: Any) -> dict[str, Any]:
    return {**task, "holder": "thread", "thread": 99, "address": None, **place}


def graph_of(b: GraphBuilder, *tasks: Any, **trailer: Any) -> HeapGraph:
    return HeapGraph.decode([b.stream()], trailer={"tasks": [*tasks], **trailer})


def first_line(graph: HeapGraph, node: Node) -> str:
    place = int((graph.address == node.address >> 3).argmax())
    return PathNodes.of(graph).retaining_path(place)[0]


def test_a_suspended_greenlet_says_whose_task_it_is() -> None:
    b = GraphBuilder()
    b.sys_modules()
    row = b.list()
    ours = greenlet(b, 5, frame(b, "sync", row), frame(b, "trace_task"))
    other = b.list()
    greenlet(b, 6, frame(b, "wait", other))
    graph = graph_of(b, label(holder="greenlet", address=ours.address))

    assert first_line(graph, row) == (
        "task shop.import_orders [7f3c] -> greenlet 5 -> sync() at shop.py:41"
    )
    assert first_line(graph, other) == "greenlet 6 -> wait() at shop.py:41"


def test_of_a_thread_only_the_frames_inside_the_task_are_its_own() -> None:
    b = GraphBuilder()
    b.sys_modules()
    inside, outside = b.list(), b.list()
    first = frame(b, "trace")
    main_thread(b, frame(b, "sync", inside), first, frame(b, "main", outside))
    graph = graph_of(b, label(callers=[0x123450, first.address]))

    assert first_line(graph, inside).startswith(
        "task shop.import_orders [7f3c] -> main"
    )
    assert first_line(graph, outside) == "main thread 99 -> main() at shop.py:41"


def test_the_greenlet_that_runs_is_found_by_its_thread() -> None:
    b = GraphBuilder()
    b.sys_modules()
    running = b.instance(b.type("gevent", "Greenlet"))
    row = b.list()
    main_thread(b, frame(b, "sync", row))
    graph = graph_of(b, label(holder="greenlet", address=running.address))

    assert first_line(graph, row).startswith("task shop.import_orders [7f3c] -> main")


def test_of_labels_on_one_greenlet_the_inner_one_counts() -> None:
    b = GraphBuilder()
    b.sys_modules()
    row = b.list()
    address = greenlet(b, 5, frame(b, "sync", row)).address
    heir = label({**IMPORT, "id": None, "seconds": 0.1}, inherited=True)
    inner = label({"kind": "request", "name": "GET /", "seconds": 0.5})
    entries = [inner, label(), heir]
    for entry in entries:
        entry |= {"holder": "greenlet", "address": address}

    lines = [first_line(graph_of(b, *entries[i:]), row) for i in range(3)]
    assert [line.partition(" -> ")[0] for line in lines] == [
        "request GET /",
        "task shop.import_orders [7f3c]",
        "spawned by task shop.import_orders",
    ]


def test_a_spawned_greenlet_that_has_ended_labels_no_other() -> None:
    b = GraphBuilder()
    b.sys_modules()
    row, ended = b.list(), b.instance(b.type("gevent", "Greenlet"))
    main_thread(b, frame(b, "sync", row))
    entry = label(holder="greenlet", address=ended.address, inherited=True)

    assert first_line(graph_of(b, entry), row).startswith("main thread 99 -> ")


@pytest.mark.parametrize(
    "entry",
    [
        None,
        7,
        {},
        {"kind": "celery"},
        {"kind": 1, "name": "x"},
        {"kind": "celery", "name": ""},
        label(thread=1),
        label(thread="99"),
        label(thread=1 << 80),
        label(holder="greenlet", address=8),
        label(holder="asyncio", address=-1 << 70, thread=None),
        label(),
        label(callers=7),
        label(callers=["x", None, 8, -1 << 70]),
    ],
)
def test_a_label_that_fits_nothing_is_as_if_it_were_not_there(entry: Any) -> None:
    b = GraphBuilder()
    b.sys_modules()
    row = b.list()
    main_thread(b, frame(b, "sync", row))

    shown = first_line(graph_of(b, entry), row)

    assert shown == "main thread 99 -> sync() at shop.py:41"


def test_a_hundred_thousand_labels_are_not_all_read() -> None:
    b = GraphBuilder()
    ours = greenlet(b, 5, frame(b, "sync"))
    entries = [label(holder="greenlet", address=ours.address)] * 100_000

    assert len(graph_of(b, *entries).tasks.by_node) == 3


def waiting_round(n: int) -> HeapGraph:
    b = GraphBuilder(base=0x7F0000000000 + n * (1 << 30))
    b.sys_modules()
    b.module("shop", {"BASE": b.list(b.leaf("bytes", 100) for _ in range(100))})
    tasks = [
        label(
            holder="greenlet",
            address=greenlet(b, i, frame(b, "sync", b.leaf("bytes", 4000))).address,
        )
        for i in range(n)
    ]
    return graph_of(b, *tasks)


def test_what_waits_in_a_task_is_a_suspect_of_that_task() -> None:
    report = growth.diff(map(waiting_round, (2, 4, 6, 8, 10))).to_json()

    suspect = report["suspects"][0]
    assert suspect["task"] == "shop.import_orders"
    assert suspect["task_why"] == "10 of 10 belong to it"


def cached_round(n: int, figures: Any) -> HeapGraph:
    b = GraphBuilder(base=0x7F0000000000 + n * (1 << 30))
    rows = [b.instance(b.type("shop", "Row", ["a"]), [b.list()]) for _ in range(n)]
    b.module("shop", {"CACHE": b.list(rows)})
    return graph_of(b, task_figures=figures)


def ran(runs: int, blocks: int, measured: int | None = None) -> dict[str, int]:
    done = runs if measured is None else measured
    return {"runs": runs, "measured": done, "blocks": blocks}


def test_the_task_that_left_the_blocks_is_named_with_its_share() -> None:
    report = growth.diff(
        cached_round(
            100 * n,
            {"shop.leak": ran(10 * n, 20 * n, n), "shop.noise": ran(500 * n, 3 * n)},
        )
        for n in range(1, 6)
    ).to_json()

    suspect = report["suspects"][0]
    assert suspect["task"] == "shop.leak"
    assert suspect["task_why"] == (
        "leaves 20 memory blocks a run, 99 % of what tasks left"
    )


def test_nobody_is_accused_for_objects_that_no_task_left() -> None:
    report = growth.diff(
        cached_round(1000 * n, {"shop.small": ran(n, 2 * n)}) for n in range(1, 6)
    ).to_json()

    assert report["suspects"][0]["task"] is None


@pytest.mark.parametrize(
    ("last", "found"),
    [
        ({"a": Figures(10, 10, 100), "b": Figures(10, 10, 90)}, None),
        ({"a": Figures(10, 10, 100), "b": Figures(10, 10, -900)}, "a"),
        ({"a": Figures(10, 0, 0)}, None),
        ({"a": Figures(10, 10, 5)}, None),
        ({}, None),
    ],
)
def test_a_leaver_left_most_of_it_and_something_each_time(
    last: dict[str, Figures], found: str | None
) -> None:
    leaver = main_leaver([{}, last])

    assert (leaver.name if leaver else None) == found


@pytest.mark.parametrize("given", [None, [], 7, {"a": 7}, {7: {}}])
def test_figures_that_are_none_are_left_out(given: Any) -> None:
    assert not figures_of(graph_of(GraphBuilder(), task_figures=given))


def test_figures_with_nonsense_in_them_count_as_zero() -> None:
    given = {"a": {"runs": "7", "measured": -1, "blocks": 1 << 70}}

    assert figures_of(graph_of(GraphBuilder(), task_figures=given)) == {
        "a": Figures(0, 0, 1 << 70)
    }
