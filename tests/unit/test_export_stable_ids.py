"""Ids of a series: odd, unique, and the same for what is the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liveheap_client.export import stable_ids
from liveheap_client.export.stable_ids import RESERVED, StableIds


def ids(known: StableIds, objects: list[tuple[int, int]]) -> list[int]:
    keys = np.array([key for key, _ in objects], np.uint64)
    sizes = np.array([size for _, size in objects], np.uint64)
    found: list[int] = known.of(keys, sizes).tolist()
    return found


OBJECTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=60)


@given(st.lists(OBJECTS, min_size=1, max_size=4))
@settings(deadline=None)
def test_each_object_of_a_file_has_an_odd_id_of_its_own(files):
    known = StableIds()
    for objects in files:
        found = ids(known, objects)
        assert len(set(found)) == len(objects)
        assert all(2 * RESERVED < id_ < 1 << 32 and id_ % 2 for id_ in found)


@given(OBJECTS, OBJECTS)
@settings(deadline=None)
def test_as_many_ids_are_kept_as_objects_of_one_kin_are_in_both(old, new):
    known = StableIds()

    both = set(ids(known, old)) & set(ids(known, new))

    assert len(both) == sum(min(old.count(kin), new.count(kin)) for kin in {*old, *new})


def test_ids_that_collide_stay_unique_and_do_not_change_in_a_series(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(stable_ids, "_N_SLOTS", 1000)
    known = StableIds()
    old = [(key, 0) for key in range(500)]
    new = [(key, 0) for key in range(499, -1, -1)] + [(key, 1) for key in range(450)]

    first, second = ids(known, old), ids(known, new)

    assert second[:500] == first[::-1]
    assert len(set(second)) == 950


def test_files_exported_apart_agree():
    objects = [(key, key % 7) for key in range(1000)]

    assert ids(StableIds(), objects) == ids(StableIds(), objects)


def test_no_objects_no_ids():
    assert ids(StableIds(), []) == []
