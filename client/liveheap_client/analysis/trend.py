"""Whether a series rises, in three plain numbers.

Gate 1 of the leak verdict is `rises_throughout`. Mann-Kendall's S counts the pairs of
rounds that rise minus those that fall, Theil-Sen's slope is the median of the slopes
between all pairs, so one wild round cannot move it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise
from statistics import median


def rises_throughout(series: Sequence[float]) -> bool:
    """Tell whether every step of the series goes up."""
    return len(series) > 1 and all(b > a for a, b in pairwise(series))


def mann_kendall_s(series: Sequence[float]) -> int:
    """Return rising pairs minus falling pairs."""
    return sum((b > a) - (b < a) for a, b in combinations(series, 2))


def theil_sen_slope(series: Sequence[float]) -> float:
    """Return the median slope per round; 0 for a single round."""
    points = list(enumerate(series))
    slopes = [(b - a) / (j - i) for (i, a), (j, b) in combinations(points, 2)]
    return float(median(slopes)) if slopes else 0.0
