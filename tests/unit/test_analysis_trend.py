"""The statistics of growth, against worked examples, brute force and scipy."""

import math
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liveheap_client.analysis.trend import (
    levels_off,
    mann_kendall_p,
    mann_kendall_s,
    theil_sen,
)

series = st.lists(st.integers(0, 6), min_size=2, max_size=6)
distinct = st.lists(st.integers(0, 10_000), min_size=3, max_size=10, unique=True)


@pytest.mark.parametrize(
    ("rounds", "chance"), [(4, 24), (5, 120), (6, 720), (10, 3_628_800)]
)
def test_a_perfect_rise_is_one_order_of_all(rounds: int, chance: int) -> None:
    assert mann_kendall_p(range(rounds)) == pytest.approx(1 / chance)


@settings(deadline=None)
@given(series)
def test_the_chance_is_that_of_all_orders_ties_included(values: list[int]) -> None:
    s = mann_kendall_s(values)
    orders = list(permutations(values))
    high = sum(mann_kendall_s(order) >= s for order in orders)

    assert mann_kendall_p(values) == pytest.approx(high / len(orders))


@settings(deadline=None)  # the first example pays for the import
@given(distinct)
def test_the_chance_is_scipys(values: list[int]) -> None:
    stats = pytest.importorskip("scipy.stats")
    found = stats.kendalltau(
        range(len(values)), values, alternative="greater", method="exact"
    )

    assert mann_kendall_p(values) == pytest.approx(found.pvalue, abs=1e-9)


def test_many_rounds_are_judged_by_the_normal_approximation() -> None:
    stats = pytest.importorskip("scipy.stats")
    values = [3 * n + 20 * math.sin(n) for n in range(40)]
    found = stats.kendalltau(
        range(40), values, alternative="greater", method="asymptotic"
    )

    assert mann_kendall_p(values) == pytest.approx(found.pvalue, rel=0.3)
    assert mann_kendall_p(values[::-1]) > 0.99


@settings(deadline=None)
@given(distinct, st.lists(st.floats(0.1, 9.0), min_size=10, max_size=10))
def test_the_slope_and_its_bounds_are_scipys(
    values: list[int], gaps: list[float]
) -> None:
    stats = pytest.importorskip("scipy.stats")
    at = [sum(gaps[:n]) for n in range(len(values))]
    found = stats.theilslopes(values, at)
    ours = theil_sen(values, at)

    assert ours.value == pytest.approx(found.slope)
    assert ours.low == pytest.approx(found.low_slope)
    assert ours.high == pytest.approx(found.high_slope)


def test_a_slope_is_per_time_that_really_passed() -> None:
    assert theil_sen([0, 10, 40], at=[0, 1, 4]).value == 10


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        ([0, 60, 90, 100, 102], True),  # a cache that fills
        ([64, 85, 92, 94, 95], True),
        ([0, 50, 100, 150, 200], False),
        ([0, 1000, 1050, 1100, 1150], False),  # imports, then a leak
        ([0, 40, 95, 130, 190], False),  # uneven load
        ([0, 100, 100, 100, 100], False),  # stands still: no rise to judge
        ([0, 90, 100], False),  # too few
        ([1, 2, 3, 4, 4], False),  # one a round, or a little less
        ([20, 26, 29, 31, 31], True),
        ([1, 3, 3, 4, 4], False),  # bursts
    ],
)
def test_a_rise_that_dies_down_is_told_from_one_that_goes_on(
    values: list[int], levels: bool
) -> None:
    assert levels_off(values, range(len(values))) is levels
