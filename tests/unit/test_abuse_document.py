"""tests/abuse.md names tests that there are."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
LIST = (TESTS / "abuse.md").read_text(encoding="utf-8")


def test_each_abuse_case_has_its_tests() -> None:
    rows = [row for row in LIST.splitlines() if row.startswith("| ")][1:]
    there = {
        name
        for file in TESTS.rglob("test_*.py")
        for name in re.findall(r"^\s*def (test_\w+)", file.read_text("utf-8"), re.M)
    }
    assert len(rows) > 10
    for row in rows:
        named = set(re.findall(r"`(test_\w+)`", row))
        assert named, row
        assert named <= there, named - there
