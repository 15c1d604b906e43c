"""Rows of numbers, one a round: which rise, which gain, which come in bursts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def rises(values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell of each row whether it rises in every interval."""
    found: NDArray[np.bool_] = np.all(np.diff(values, axis=1) > 0, axis=1)
    return found


def gains(values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell of each row whether it is higher at the end."""
    higher: NDArray[np.bool_] = values[:, -1] > values[:, 0]
    return higher


def bursts(values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell of each row whether it rises, but not always, never falls, and goes on."""
    steps = np.diff(values, axis=1)
    found: NDArray[np.bool_] = (
        (steps >= 0).all(axis=1)
        & ((steps > 0).sum(axis=1) >= 2)
        & (steps[:, -2:] > 0).any(axis=1)
        & ~(steps > 0).all(axis=1)
    )
    return found
