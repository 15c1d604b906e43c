"""The layered layout: nothing overlaps, everything points right, equal twice."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liveheap_client.report.layers import Box, Link, Placed, Spacing, arrange

FEW = settings(max_examples=40, deadline=None)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[Box], list[Link]]:
    """Graphs without a cycle: every link leads to a box of a smaller number."""
    n_boxes = draw(st.integers(1, 14))
    sizes = st.tuples(st.integers(5, 90), st.integers(5, 40))
    boxes = [Box(*draw(sizes)) for _ in range(n_boxes)]
    links = []
    for source in range(1, n_boxes):
        for target in draw(st.sets(st.integers(0, source - 1), max_size=3)):
            links.append(Link(source, target, draw(st.integers(0, 60))))
    return boxes, links


def placed_boxes(boxes: list[Box], placed: Placed) -> list[tuple[float, ...]]:
    return [
        (x, y, x + box.width, y + box.height)
        for box, (x, y) in zip(boxes, placed.corners, strict=True)
    ]


@FEW
@given(graphs())
def test_boxes_do_not_overlap_and_lie_inside(
    graph: tuple[list[Box], list[Link]],
) -> None:
    boxes, links = graph
    placed = arrange(boxes, links)
    corners = placed_boxes(boxes, placed)

    for i, (left, top, right, bottom) in enumerate(corners):
        assert left >= -1e-6
        assert top >= -1e-6
        assert right <= placed.width + 1e-6
        assert bottom <= placed.height + 1e-6
        for other in corners[:i]:
            apart = (
                right <= other[0] + 1e-6
                or other[2] <= left + 1e-6
                or bottom <= other[1] + 1e-6
                or other[3] <= top + 1e-6
            )
            assert apart


@FEW
@given(graphs())
def test_links_run_to_the_right_from_box_to_box(
    graph: tuple[list[Box], list[Link]],
) -> None:
    boxes, links = graph
    placed = arrange(boxes, links)
    corners = placed_boxes(boxes, placed)

    for link, route in zip(links, placed.routes, strict=True):
        assert [x for x, _ in route] == sorted(x for x, _ in route)
        source, target = corners[link.source], corners[link.target]
        assert route[0][0] == pytest.approx(source[2])
        assert source[1] - 1e-6 <= route[0][1] <= source[3] + 1e-6
        assert route[-1][0] == pytest.approx(target[0])
        assert target[1] - 1e-6 <= route[-1][1] <= target[3] + 1e-6


@FEW
@given(graphs())
def test_the_name_of_a_link_has_room(graph: tuple[list[Box], list[Link]]) -> None:
    boxes, links = graph
    placed = arrange(boxes, links, Spacing(across=20))

    for link, route in zip(links, placed.routes, strict=True):
        after_column = route[2][0] - route[1][0]
        assert after_column >= link.label_width + 20 - 1e-6


@FEW
@given(graphs())
def test_the_same_graph_is_placed_the_same(graph: tuple[list[Box], list[Link]]) -> None:
    assert arrange(*graph) == arrange(*graph)


def test_a_tree_is_drawn_without_crossings() -> None:
    boxes = [Box(10, 10)] * 7
    links = [Link(1, 0), Link(2, 0), Link(5, 1), Link(3, 2), Link(4, 2), Link(6, 1)]
    middle = [y for _, y in arrange(boxes, links).corners]

    assert middle[1] < middle[2]
    assert max(middle[5], middle[6]) < min(middle[3], middle[4])


def test_a_cycle_is_refused() -> None:
    with pytest.raises(ValueError, match="cycle"):
        arrange([Box(1, 1)] * 2, [Link(0, 1), Link(1, 0)])


def test_nothing_is_placed_nowhere() -> None:
    assert arrange([], []) == Placed((), (), 0, 0)


def test_a_long_chain_and_a_wide_layer_are_placed() -> None:
    chance = random.Random(1)
    chain = [Link(n, n - 1) for n in range(1, 1500)]
    fan = [Link(n, chance.randrange(40)) for n in range(1500, 2000)]
    placed = arrange([Box(10, 10)] * 2000, chain + fan)

    assert len(placed.corners) == 2000
