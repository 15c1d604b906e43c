"""Numbers for objects that are the same in every file of a series.

An address is no identity: CPython gives a freed one to the next object of that size.
So an object is known by its path node, its size and its place among those that have
both in common, and gets a number from a hash of these. The keys of path nodes are made
of texts, the same in every process, so files that were exported one by one agree as
well, but for the few whose numbers collide (about n * n / 2^32 of n objects). Within
one `StableIds` not even these change.

What follows: in a comparison of two files, how many objects of a class came and went
is right in sum. That a single object bears the same number in both is no proof that it
is the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RESERVED = 1 << 10
_N_SLOTS = (1 << 31) - RESERVED
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


class StableIds:
    """Gives odd 32-bit numbers above 2 * RESERVED, each once a file."""

    def __init__(self) -> None:
        self._known = np.zeros(0, np.uint64)
        self._slots = np.zeros(0, np.int64)

    def of(
        self, key: NDArray[np.uint64], size: NDArray[np.uint64]
    ) -> NDArray[np.uint32]:
        """Return the numbers of a file's objects."""
        identity = _identities(_mixed(key ^ _mixed(size + _GOLDEN)))
        slots = np.full(len(identity), -1, np.int64)
        if len(self._known):
            place = np.searchsorted(self._known, identity)
            place = np.minimum(place, len(self._known) - 1)
            found = self._known[place] == identity
            slots[found] = self._slots[place[found]]
        fresh = np.flatnonzero(slots < 0)
        slots[fresh] = self._free_slots(identity[fresh])
        self._remember(identity[fresh], slots[fresh])
        ids: NDArray[np.uint32] = ((slots + RESERVED) * 2 + 1).astype(np.uint32)
        return ids

    def _free_slots(self, identity: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return a slot for each, its own if that is free, else the next free one."""
        slots: NDArray[np.int64] = (identity % np.uint64(_N_SLOTS)).astype(np.int64)
        taken = np.sort(self._slots)
        while True:
            order = np.argsort(slots, kind="stable")
            again = np.zeros(len(slots), np.bool_)
            again[order[1:]] = slots[order[1:]] == slots[order[:-1]]
            again |= _among(slots, taken)
            if not again.any():
                return slots
            slots[again] = (slots[again] + 1) % _N_SLOTS

    def _remember(self, identity: NDArray[np.uint64], slots: NDArray[np.int64]) -> None:
        known = np.concatenate([self._known, identity])
        order = np.argsort(known)
        self._known = known[order]
        self._slots = np.concatenate([self._slots, slots])[order]


def _identities(kin: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return hashes that tell apart objects of one kin by their order."""
    order = np.argsort(kin, kind="stable")
    ordered = kin[order]
    begins = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    lengths = np.diff(np.append(begins, len(kin)))
    number = np.empty(len(kin), np.uint64)
    number[order] = np.arange(len(kin)) - np.repeat(begins, lengths)
    return _mixed(kin + number * _GOLDEN)


def _among(values: NDArray[np.int64], ordered: NDArray[np.int64]) -> NDArray[np.bool_]:
    if not len(ordered):
        return np.zeros(len(values), np.bool_)
    place = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    among: NDArray[np.bool_] = ordered[place] == values
    return among


def _mixed(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return values spread over 64 bits (the finalizer of splitmix64)."""
    value = value ^ (value >> np.uint64(30))
    value = value * _MIX[0]
    value ^= value >> np.uint64(27)
    value = value * _MIX[1]
    value ^= value >> np.uint64(31)
    return value
