"""The screen of `leaks`: its text, its size, and names that would misuse a terminal."""

from typing import Any

import pytest
from test_analysis_verdict import of, round_, told

from liveheap_client.analysis.sentence import sentence
from liveheap_client.render import leaks
from liveheap_client.render.table import Look

SCREEN = Look(human=True, width=80)


def screen(report: dict[str, Any], look: Look = SCREEN) -> list[str]:
    return list(leaks.lines(report, look=look))


def test_a_leak_names_its_holder_what_each_brings_and_what_it_is_not() -> None:
    assert screen(of([10, 20, 30, 40, 50], descriptors=9, sockets=2)) == [
        "Leak: worker.CACHE (list) grew 10 -> 50 worker.Row,",
        "+262 KiB an hour, in 4/4 intervals (4m 0s).",
        "verdict: leak, confidence high; 5 rounds of a process, pid 1",
        "",
        "1. worker.Row  10 -> 20 -> 30 -> 40 -> 50  +262 KiB an hour",
        "   held by:  worker.CACHE (list)",
        "   objects:  each with 1 bytes (400 B)",
        "",
        "ruled out: native memory: RSS +0 B, -17.5 KiB outside the Python heap",
        "           descriptors: 9 -> 9, sockets: 2 -> 2",
        "           garbage waiting for the collector: 0 B",
        "next:      liveheap backrefs worker.Row round-005.liveheap",
    ]


def test_descriptors_are_told_without_the_stack_that_waits() -> None:
    report = of([10, 20, 30, 40, 50], descriptors=9, sockets=2)
    for place, memory in enumerate(report["memory"]):
        memory["descriptors"] = 9 + 10 * place
    stuck = {"holder": None, "waits_in": "get() at a.py:1 <- b() at a.py:9"}
    report["suspects"] = [{**report["suspects"][0], **stuck}]
    report["verdict"] = {"kind": "descriptors", "suspect": 0}

    assert sentence(report) == (
        "Leak: open file descriptors grew 9 -> 49 (+600 an hour), in 4/4 intervals "
        "(4m 0s); with them grew 10 -> 50 worker.Row, +262 KiB an hour."
    )


def test_no_leak_is_said_as_plainly_and_accuses_nobody() -> None:
    shown = screen(of([50, 50, 50, 50, 50]))

    assert shown[0].startswith("No leak: nothing grows; live heap")
    assert not any(line.startswith("1. ") for line in shown)


def test_an_orphan_is_said_to_be_held_by_nothing() -> None:
    shown = screen(told([round_(place, 5, orphans=20 * place) for place in range(5)]))

    assert "   held by:  nothing: no referrer, but 1 in its reference count" in shown


@pytest.mark.parametrize("width", [60, 80, 200, None])
def test_whatever_was_found_it_is_one_screen(width: int | None) -> None:
    report = of([10, 20, 30, 40, 50])
    long = report["suspects"][0]
    long["holder"] = ".".join(["application.module.Holder"] * 40)
    long["waits_in"] = " <- ".join(
        ["wait() at a/very/long/path/of/a/module.py:1234"] * 9
    )
    long["type"] = "application." * 30
    report["suspects"] = [long] * 200
    shown = screen(report, Look(human=True, width=width))

    assert len(shown) <= 30
    assert max(map(len, shown)) <= min(width or 80, 120)


@pytest.mark.parametrize("name", ["\x1b[2J", "a\nb", "\u202eevil", "<b>\r"])
def test_hostile_names_are_seen_and_not_obeyed(name: str) -> None:
    report = of([10, 20, 30, 40, 50])
    suspect = report["suspects"][0]
    for field in ("type", "holder", "holder_type", "path", "waits_in", "code"):
        suspect[field] = f"worker.{name}"
    suspect["contents"] = [{"type": name, "gained": 40, "gained_bytes": 9}]
    report["verdict"]["sentence"] = report["next"] = f"Leak: {name}"
    report["notes"] = [name]

    assert all(line.isprintable() for line in screen(report))
