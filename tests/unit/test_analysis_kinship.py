"""Workers beside each other: who leaks worst, and whether they leak alike."""

from dataclasses import asdict
from typing import Any

import pytest

from liveheap_client.analysis.kinship import Kinship, kinship
from liveheap_client.render.kinship import lines
from liveheap_client.render.table import Look

MIB = 1 << 20


def suspect(place: str, slope: float, **facts: Any) -> dict[str, Any]:
    return {
        "fingerprint": f"print of {place}",
        "type": "app.Row",
        "holder": place,
        "holder_type": "dict",
        "path": f"{place}[*]",
        "waits_in": None,
        "orphan": False,
        "grows": "count",
        "intervals": 4,
        "levels_off": False,
        "bytes_slope": slope,
        **facts,
    }


def report(
    *suspects: dict[str, Any],
    kind: str = "leak",
    first: int | None = 0,
    gained: int = MIB,
) -> dict[str, Any]:
    step = gained // 4
    return {
        "verdict": {"kind": kind, "suspect": first if suspects else None},
        "suspects": list(suspects),
        "rounds": [{"created": 1e9 + 20 * n} for n in range(5)],
        "rss": [50 * MIB + step * n for n in range(5)],
        "per": "hour",
    }


FLAT = report(kind="nothing-grows", gained=0)


def test_workers_that_leak_at_one_place_leak_alike() -> None:
    found = kinship(
        {
            "11": FLAT,
            "12": report(suspect("app.CACHE", 5 * MIB)),
            "13": report(suspect("app.CACHE", 9 * MIB)),
        }
    )

    assert found.sentence == (
        "2 of 3 workers leak alike: app.CACHE (dict), gains app.Row, "
        "+14.0 MiB an hour in all."
    )
    assert [one.worker for one in found.workers] == ["13", "12", "11"]
    assert found.leaks[0].workers == ("13", "12")


def test_two_leaks_of_equal_rates_are_seen_in_whichever_order_they_come() -> None:
    a, b = suspect("app.A", 5.0 * MIB), suspect("app.B", 5.0 * MIB)

    found = kinship({"1": report(a, b), "2": report(b, a), "3": report(a, b, first=1)})

    assert {leak.what.split()[0]: len(leak.workers) for leak in found.leaks} == {
        "app.A": 3,
        "app.B": 3,
    }
    assert [set(one.leaks) for one in found.workers] == [{"A", "B"}] * 3


def test_different_leaks_are_not_alike() -> None:
    found = kinship(
        {"1": report(suspect("a.A", 2.0)), "2": report(suspect("b.B", 3.0 * MIB))}
    )

    assert found.sentence.startswith("2 of 2 workers leak, each its own way; first b.B")


def test_what_levels_off_or_did_not_gain_throughout_is_not_accused() -> None:
    filling = suspect("app.CACHE", 5.0, levels_off=True)
    passing = suspect("app.QUEUE", 5.0, intervals=3)

    found = kinship({"1": report(filling, passing, kind="undecided", first=None)})

    assert not found.leaks
    assert found.sentence == "None of 1 worker is seen to grow; 1 cannot be judged yet."


def test_native_growth_is_alike_by_its_kind_and_ranked_by_rss() -> None:
    native = {
        str(n): report(kind="native", first=None, gained=n * 8 * MIB) for n in (1, 3, 2)
    }

    found = kinship(native)

    assert found.sentence.startswith("3 of 3 workers leak alike: native memory")
    assert [one.worker for one in found.workers] == ["3", "2", "1"]
    assert found.workers[0].bytes_slope == pytest.approx(24 * MIB * 45)


def test_no_leak_is_said_as_plainly() -> None:
    assert kinship({"1": FLAT, "2": FLAT}).sentence == "None of 2 workers leaks."


def test_two_rounds_grow_and_are_not_called_a_leak() -> None:
    two = report(suspect("app.CACHE", 1.0 * MIB, intervals=1), kind="undecided")
    two = {**two, "rounds": two["rounds"][:2], "rss": two["rss"][:2]}

    assert kinship({"1": two, "2": two}).sentence.startswith("2 of 2 workers grow alik")


def test_the_screen_escapes_what_workers_call_things() -> None:
    evil = suspect("\x1b[2J\u202eapp", 5.0 * MIB, type="<script>\x07")

    shown = list(lines(as_found(kinship({"1": report(evil)})), look=Look(width=80)))

    assert all(line.isprintable() for line in shown)
    assert all(len(line) <= 80 for line in shown)


def test_the_screen_says_who_was_not_judged_and_why() -> None:
    found = as_found(kinship({"1": FLAT}))
    lost = {**found["workers"][0], "worker": "2", "failure": "it ended before round 2"}
    found["workers"].append(lost)

    shown = "\n".join(lines(found, look=Look()))

    assert "not judged: 2: it ended before round 2" in shown


def as_found(kin: Kinship) -> dict[str, Any]:
    """Return what the verb hands to the screen."""
    told = asdict(kin)
    more = {"program": "app", "role": "worker", "failure": None, "notes": []}
    told["workers"] = [{**one, **more} for one in told["workers"]]
    return {**told, "next": "liveheap leaks 1"}
