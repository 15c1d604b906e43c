"""Holdings: the dominator tree merged by path; it adds up, folds, and is bounded."""

import random
from typing import Any

import pytest
from stream_builder import GraphBuilder

from liveheap.snapshot.format import Tag
from liveheap_client.analysis.graph import HeapGraph
from liveheap_client.analysis.holdings import Holding, holdings
from liveheap_client.analysis.paths import PathNodes


def of(builder: GraphBuilder, **options: Any) -> Holding:
    graph = HeapGraph.decode([builder.stream()])
    return holdings(PathNodes.of(graph), **{"share": 0.0, **options})


def all_of(whole: Holding) -> list[Holding]:
    found = [whole]
    for holding in found:
        found.extend(holding.children)
    return found


def named(whole: Holding, text: str) -> Holding:
    return next(one for one in all_of(whole) if one.text == text)


def cache(rows: int) -> GraphBuilder:
    b = GraphBuilder()
    row = b.type("app", "Row", ["payload"])
    items = [b.instance(row, [b.leaf("bytes", 100)], 50) for _ in range(rows)]
    b.module("app", {"CACHE": b.list(items, 1000)})
    return b


def test_rows_of_a_list_are_one_holding() -> None:
    whole = of(cache(30))
    rows = named(whole, "app.CACHE[*] -> app.Row")

    assert (rows.count, rows.own, rows.bytes) == (30, 30 * 50, 30 * 150)
    assert rows.label == "[*]"
    assert named(whole, "app.CACHE -> list").bytes == 1000 + 30 * 150


def test_what_two_hold_stands_beside_both() -> None:
    b = GraphBuilder()
    shared = b.leaf("bytes", 500)
    b.module("app", {"A": b.list([shared], 80), "B": b.list([shared], 80)})
    whole = of(b)

    assert named(whole, "app.A -> list").bytes == 80
    assert named(whole, "app.B -> list").bytes == 80
    module = named(whole, "app")
    assert {child.label for child in module.children} >= {".A", ".B", ".A[*]"}


def test_a_linked_list_is_one_holding() -> None:
    b = GraphBuilder()
    link = b.type("app", "Link", ["next"])
    node = None
    for _ in range(3_000):
        node = b.instance(link, [node], 10)
    b.module("app", {"HEAD": node})
    links = [one for one in all_of(of(b)) if one.type == "app.Link"]

    assert sum(one.count for one in links) == 3_000
    assert len(links) <= 2


@pytest.mark.parametrize("seed", range(5))
def test_tips_add_up_to_the_heap_and_children_weigh_no_more(seed: int) -> None:
    chance = random.Random(seed)
    b = GraphBuilder()
    made = [b.list(size=chance.randrange(1, 500)) for _ in range(60)]
    for node in made:
        node.refs = chance.sample(made, chance.randrange(4))
    b.module("app", {f"N{n}": node for n, node in enumerate(made[:5])})
    graph = HeapGraph.decode([b.stream()])
    whole = holdings(PathNodes.of(graph), share=0.01)

    assert whole.bytes == int(graph.size[graph.record != Tag.ROOT].sum())
    for one in all_of(whole):
        below = sum(child.bytes for child in one.children) + one.lighter
        assert one.bytes == one.own + below


def test_no_more_holdings_than_asked_for_and_the_rest_is_counted() -> None:
    b = GraphBuilder()
    types = [b.type("app", f"T{n}") for n in range(50)]
    b.module("app", {"ALL": b.list(b.instance(kind) for kind in types)})
    whole = of(b, most=12)

    assert len(all_of(whole)) == 12
    assert sum(one.n_lighter for one in all_of(whole)) > 40


def test_depth_is_bounded() -> None:
    b = GraphBuilder()
    node = b.leaf()
    for number in range(60):
        node = b.instance(b.type("app", f"T{number}", ["x"]), [node])
    b.module("app", {"TOP": node})
    whole, depth = of(b, deepest=5), 0
    while whole.children:
        whole, depth = whole.children[0], depth + 1

    assert depth == 5
    assert whole.n_lighter == 1


def test_liveheap_s_own_objects_are_left_out() -> None:
    b = cache(3)
    b.module("liveheap", {"SPOOL": b.leaf("bytes", 10_000)})
    texts = [one.text for one in all_of(of(b))]

    assert not any(text.startswith("liveheap") for text in texts)


def test_an_empty_heap_is_nothing() -> None:
    assert of(GraphBuilder()).bytes == 0
