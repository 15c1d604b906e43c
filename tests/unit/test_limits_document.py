"""docs/limits.md says which limits there are, their defaults, and what holds each."""

import re
from dataclasses import fields
from pathlib import Path

from test_security_document import all_tests

from liveheap.rails import RANGES, Rails

DOCUMENT = Path(__file__).parents[2] / "docs" / "limits.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")


def table(name: str) -> list[list[str]]:
    """Return the cells of each row of one of the two tables."""
    part = TEXT.partition(f"<!-- {name}: begin -->")[2]
    lines = part.partition(f"<!-- {name}: end -->")[0].strip().splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_limit_stands_there_with_its_default() -> None:
    told = {row[0].strip("`"): row[1] for row in table("settings")}
    expected = {}
    for field in fields(Rails):
        unit = RANGES[field.name].unit if field.name in RANGES else ""
        value = f"{field.default:.0f}" if unit != "" else str(int(field.default))
        expected[f"LIVEHEAP_{field.name.upper()}"] = f"{value} {unit}".strip()
    assert told == expected


def test_every_test_that_holds_a_limit_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", TEXT))
    assert named - all_tests() == set()
    assert all(re.search(r"`test_\w+`", row[3]) for row in table("settings"))


def test_every_rule_of_the_charter_is_held_by_a_test() -> None:
    rows = table("charter")
    assert [int(row[0].partition(".")[0]) for row in rows] == list(range(1, 19))
    assert all(re.search(r"`test_\w+`", row[1]) for row in rows)
