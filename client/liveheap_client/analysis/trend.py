"""Whether a series rises, how surely, and how fast.

Three answers about a handful of points, none of which one wild round can overturn:

- `rises_throughout`: every step goes up. Gate 1 of the leak verdict.
- `mann_kendall_p`: the chance that a series without a trend would show as many rising
  pairs. Exact for up to ten points, ties included: S is the number of rising pairs less
  that of falling ones, the falling ones are the inversions of a sequence, and
  inversions of all orders of a multiset have a known generating function.
- `theil_sen`: the median of the slopes between all pairs, with the interval of pairwise
  slopes that Sen gives it. For four or five points that is their whole range, which is
  honest: so few rounds bound a rate no better.

A slope is per unit of `at`, the moments of the rounds. Rounds are never quite equally
far apart: one waits for a link, another for the worker's GIL.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from statistics import median

MOST_POINTS_EXACT = 10
CONFIDENCE_Z = 1.959963984540054  # 95 %, two-sided
LEAST_DUE = 5


@dataclass(frozen=True, slots=True)
class Slope:
    """A rate, and between which bounds it lies with 95 % confidence."""

    value: float
    low: float
    high: float


def rises_throughout(series: Sequence[float]) -> bool:
    """Tell whether every step of the series goes up."""
    return len(series) > 1 and all(b > a for a, b in pairwise(series))


def mann_kendall_s(series: Sequence[float]) -> int:
    """Return rising pairs minus falling pairs."""
    return sum((b > a) - (b < a) for a, b in combinations(series, 2))


def mann_kendall_p(series: Sequence[float]) -> float:
    """Return the chance of an S at least as high if there is no trend (one-sided)."""
    s, ties = mann_kendall_s(series), list(Counter(series).values())
    if len(series) <= MOST_POINTS_EXACT:
        return _exact_p(s, ties)
    n = len(series)
    variance = _spread(n) - sum(map(_spread, ties))
    if variance <= 0:
        return 1.0
    # The step from one S to the next is two, hence one as the correction.
    z = (s - 1) / math.sqrt(variance)
    return 0.5 * math.erfc(z / math.sqrt(2))


def theil_sen(series: Sequence[float], at: Sequence[float] | None = None) -> Slope:
    """Return the median slope and its bounds; no slope for a single round."""
    moments = range(len(series)) if at is None else at
    points = list(zip(moments, series, strict=True))
    slopes = sorted(
        (b - a) / (j - i) for (i, a), (j, b) in combinations(points, 2) if j > i
    )
    if not slopes:
        return Slope(0.0, 0.0, 0.0)
    n = len(series)
    ties = [*Counter(moments).values(), *Counter(series).values()]
    sigma = math.sqrt(max(_spread(n) - sum(map(_spread, ties)), 0.0))
    upper = min(round((len(slopes) + CONFIDENCE_Z * sigma) / 2), len(slopes) - 1)
    lower = max(round((len(slopes) - CONFIDENCE_Z * sigma) / 2) - 1, 0)
    return Slope(float(median(slopes)), float(slopes[lower]), float(slopes[upper]))


def theil_sen_slope(
    series: Sequence[float], at: Sequence[float] | None = None
) -> float:
    """Return the median slope alone."""
    return theil_sen(series, at).value


def rates(series: Sequence[float], at: Sequence[float]) -> list[float]:
    """Return the rate of each interval."""
    points = zip(at, series, strict=True)
    return [(b - a) / (j - i) for (i, a), (j, b) in pairwise(points)]


def levels_off(series: Sequence[float], at: Sequence[float]) -> bool:
    """Tell whether a rise dies down, as that of a cache which fills.

    The last rate is far below the ones before, the later ones below the earlier, and
    none much above the one before it: a first interval that is steeper than all others
    is a warm-up before a rise, and what stands and rises again has not come to an end.
    Where less than a handful was due in the last interval, that none came is chance.
    """
    steps = rates(series, at)
    if len(steps) < 3 or max(steps) <= 0:
        return False
    if max(steps[:-1]) * (at[-1] - at[-2]) < LEAST_DUE:
        return False
    half = len(steps) // 2
    earlier, later = steps[:half], steps[-half:]
    return (
        steps[-1] <= 0.35 * median(steps[:-1])
        and sum(later) <= 0.6 * sum(earlier)
        and steps[-1] < steps[-2]
        and all(b <= 1.5 * a for a, b in pairwise(steps))
    )


def _spread(n: int) -> float:
    """Return the variance of S for n points, or what n equal ones take from it."""
    return n * (n - 1) * (2 * n + 5) / 18


def _exact_p(s: int, ties: Sequence[int]) -> float:
    """Count the orders of the same values that have an S at least as high."""
    orders = [1]
    placed = 0
    for same in ties:
        placed += same
        orders = _times(orders, _choices(placed, same))
    pairs = len(orders) - 1
    # With i inversions among `pairs` unequal pairs S is pairs - 2 i.
    high = sum(ways for i, ways in enumerate(orders) if pairs - 2 * i >= s)
    return high / sum(orders)


def _choices(n: int, k: int) -> list[int]:
    """Return the ways to choose k of n places, by inversions (a Gauss binomial)."""
    if k in (0, n):
        return [1]
    without = _choices(n - 1, k)
    last = [0] * (n - k) + _choices(n - 1, k - 1)
    longest = max(len(without), len(last))
    without += [0] * (longest - len(without))
    last += [0] * (longest - len(last))
    return [a + b for a, b in zip(without, last, strict=True)]


def _times(a: Sequence[int], b: Sequence[int]) -> list[int]:
    """Multiply two polynomials."""
    product = [0] * (len(a) + len(b) - 1)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            product[i + j] += x * y
    return product
