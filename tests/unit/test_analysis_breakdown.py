"""Why memory grew, and what stands out in it, from two breakdowns or from one."""

from typing import Any

import pytest

from liveheap_client.analysis import breakdown, openfiles, outside
from liveheap_client.verbs.memory import report_of

MIB = 1 << 20
USUAL = {
    "pid": 7,
    "start_time": 1,
    "instance": "a",
    "glibc": "2.36",
    "malloc": "libc.so.6",
    "malloc_known": True,
    "python_allocator": "pymalloc",
    "n_pools": 100,
    "trim_seconds": 0.02,
}


def record(**sizes: Any) -> dict[str, Any]:
    """Return a breakdown of 40 MiB and what is said to differ; sizes are in MiB."""
    parts = {"objects": 30, "malloc_used": 10, "n_arenas": 0, "n_stacks": 0}
    told = {name: size for name, size in sizes.items() if name in breakdown.PARTS}
    others = {name: value for name, value in sizes.items() if name not in told}
    known = {**dict.fromkeys(breakdown.PARTS, 0), **parts, **told}
    found = {
        name: size * MIB if name in breakdown.PARTS else size
        for name, size in known.items()
    }
    found["rss"] = sum(found[name] for name in breakdown.PARTS)
    return {**USUAL, **found, "trimmable": found["malloc_free"], **others}


BEFORE = record()


def kinds(after: dict[str, Any], before: dict[str, Any] = BEFORE) -> dict[str, float]:
    found = breakdown.causes(before, after)
    return {cause.kind: cause.bytes / MIB for cause in found}


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (record(objects=87), {"objects": 57}),
        (record(objects=31, pool_free=58), {"fragmentation": 58}),
        (record(objects=60, pool_free=5), {"objects": 30, "fragmentation": 0}),
        (record(malloc_used=30), {"python-or-native": 20}),
        (record(malloc_free=40), {"malloc-free": 40}),
        (record(malloc_mapped=41), {"python-or-native": 41}),
        (record(shared=30), {"mapped": 30}),
        (record(anonymous=3, files=2), {"mapped": 5}),
        (record(stacks=4), {"stacks": 4}),
        (record(objects=30.5), {}),
        (record(objects=20), {}),
        (record(malloc_used=18, malloc_free=2), {"python-or-native": 8}),
    ],
)
def test_growth_has_its_cause(after: dict[str, Any], expected: dict[str, int]) -> None:
    wanted = {kind: size for kind, size in expected.items() if size}
    assert kinds(after) == wanted


def test_a_walk_tells_large_objects_from_native_memory() -> None:
    before = record(walked_bytes=32 * MIB, walked_objects=1000)
    after = record(objects=35, malloc_used=30, walked_bytes=45 * MIB)

    assert kinds({**after, "walked_objects": 2000}, before) == {
        "objects": 13,
        "native": 12,
    }


def test_what_rounding_explains_is_not_native() -> None:
    """A float has 24 bytes and gets a block of 32."""
    before = record(walked_bytes=0, walked_objects=0)
    after = record(objects=62, malloc_used=18, walked_bytes=32 * MIB)

    assert kinds({**after, "walked_objects": MIB}, before) == {"objects": 40}


def test_several_causes_stand_in_the_order_of_their_size() -> None:
    after = record(objects=32, pool_free=10, malloc_free=5, shared=20)

    assert list(kinds(after)) == ["mapped", "fragmentation", "malloc-free", "objects"]


def test_what_is_small_beside_the_growth_is_no_cause() -> None:
    assert list(kinds(record(objects=230, shared=2))) == ["objects"]


def test_where_malloc_is_unknown_nothing_of_it_is_judged() -> None:
    after = record(anonymous=50, malloc_used=11, glibc=None, malloc="libjemalloc.so.2")
    [cause] = breakdown.causes(BEFORE, after)

    assert (cause.kind, cause.bytes) == ("unknown-allocator", 51 * MIB)
    assert "libjemalloc.so.2" in cause.sentence
    assert any("unknown allocator" in doubt for doubt in breakdown.doubts(after))


def test_many_arenas_are_named_with_the_variable_that_bounds_them() -> None:
    [cause] = breakdown.causes(BEFORE, record(malloc_free=40, n_arenas=12))

    assert "liveheap trim gives back 40.0 MiB" in cause.remedy
    assert "MALLOC_ARENA_MAX=2: threads made 12 arenas" in cause.remedy


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({}, []),
        ({"pool_free": 25}, ["fragmentation"]),
        ({"malloc_free": 10}, ["malloc-free"]),
        ({"malloc_free": 10, "malloc_known": False}, []),
        ({"pool_free": 30, "malloc_free": 40}, ["malloc-free", "fragmentation"]),
        ({"malloc_used": 40}, ["malloc-used"]),
        ({"malloc_used": 20, "malloc_mapped": 20}, ["malloc-used"]),
        ({"malloc_used": 40, "n_pools": 0}, []),
        ({"malloc_used": 40, "glibc": None}, []),
    ],
)
def test_what_stands_out_in_one_breakdown(
    sizes: dict[str, Any], expected: list[str]
) -> None:
    assert [one.kind for one in breakdown.remarks(record(**sizes))] == expected


@pytest.mark.parametrize(
    ("walked", "told"),
    [
        (None, "Python objects of over 512 bytes each, or native memory"),
        (
            67 * MIB,
            "37.0 MiB are Python objects of over 512 bytes each, "
            "3.0 MiB are native memory or lost to rounding",
        ),
        (
            10 * MIB,
            "0 B are Python objects of over 512 bytes each, "
            "40.0 MiB are native memory or lost to rounding",
        ),
    ],
)
def test_what_malloc_gave_out_is_not_taken_for_native(
    walked: int | None, told: str
) -> None:
    [remark] = breakdown.remarks(record(malloc_used=40, walked_bytes=walked))

    assert remark.sentence == f"40.0 MiB are in use from malloc: {told}"
    assert "liveheap histogram" in remark.remedy
    assert ("--walk" in remark.remedy) == (walked is None)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"malloc_known": False}, "could not be read through"),
        ({"n_pools": 0, "python_allocator": "malloc"}, "objects come from malloc"),
        ({"python_allocator": "pymalloc_debug"}, "debug bytes"),
        ({"cut_short": True}, "no time"),
    ],
)
def test_what_could_not_be_told_is_said(facts: dict[str, Any], words: str) -> None:
    assert any(words in doubt for doubt in breakdown.doubts(record(**facts)))
    assert breakdown.doubts(BEFORE) == []


def test_figures_of_another_process_are_compared_with_a_doubt() -> None:
    report = report_of(record(objects=60), record(pid=8))

    assert "the earlier figures are of another process" in report["doubts"]
    assert report["growth"]["objects"] == 30 * MIB


def memory(place: int, **gained: int) -> dict[str, Any]:
    """Return the facts of a round; its RSS gains the sum of all parts, in MiB."""
    total = sum(gained.values()) * place
    return {
        "graph": 30 * MIB,
        "outside": (10 + total) * MIB,
        "outside_after": (10 + total) * MIB,
        "pool_used": 30 * MIB,
        "pool_free": gained.get("pool_free", 0) * place * MIB,
        "malloc_used": (5 + gained.get("malloc_used", 0) * place) * MIB,
        "malloc_free": gained.get("malloc_free", 0) * place * MIB,
        "malloc_mapped": gained.get("malloc_mapped", 0) * place * MIB,
    }


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("pool_free", "fragmentation"),
        ("malloc_free", "malloc-free"),
        ("malloc_used", "native"),
        ("malloc_mapped", "native"),
        ("others", "mapped"),
    ],
)
def test_growth_outside_the_heap_is_somebodys(name: str, part: str) -> None:
    rounds = [memory(place, **{name: 5}) for place in range(5)]

    assert outside.main_part(rounds) == part
    assert outside.is_clear(rounds)
    assert (outside.words(rounds) or "").startswith("20.0 MiB are ")
    assert (outside.next_step(rounds) or "").startswith(("memory", "trim"))


def test_growth_of_several_kinds_is_told_as_such() -> None:
    rounds = [memory(place, malloc_used=3, malloc_free=3, others=1) for place in (0, 4)]

    assert not outside.is_clear(rounds)
    assert "native memory" in (outside.words(rounds) or "")
    assert "that malloc keeps" in (outside.words(rounds) or "")
    assert "mapped" not in (outside.words(rounds) or "")


@pytest.mark.parametrize("missing", ["malloc_used", "pool_free", "outside_after"])
def test_rounds_of_older_files_leave_it_open(missing: str) -> None:
    rounds = [{**memory(place, malloc_used=5), missing: None} for place in (0, 4)]

    assert outside.parts(rounds) is None
    assert outside.words(rounds) is None
    assert outside.next_step(rounds) is None
    assert not outside.is_clear(rounds)


def test_open_files_that_grow_have_a_kind_and_a_port() -> None:
    first = {"kinds": {"tcp": 2, "file": 3}, "remote_ports": [[443, 2]]}
    last = {"kinds": {"tcp": 42, "file": 9}, "remote_ports": [[6379, 38], [443, 4]]}
    accepted = {**last, "remote_ports": [], "local_ports": [[8000, 41]]}
    scattered = {**last, "remote_ports": [[n, 2] for n in range(20)]}
    files = {"kinds": {"tcp": 2, "file": 30}}

    kind = openfiles.growing_kind
    assert kind(first, last) == "TCP connections to port 6379"
    assert kind(first, accepted) == "TCP connections on port 8000"
    assert kind(first, scattered) == "TCP connections"
    assert kind(first, files) == "files"
    assert kind(first, first) is None
    assert kind({"kinds": None}, last) is None
