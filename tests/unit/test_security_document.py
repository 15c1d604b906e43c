"""SECURITY.md promises what tests hold: each test that it names is there."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
DOCUMENT = (TESTS.parent / "SECURITY.md").read_text(encoding="utf-8")


def all_tests() -> set[str]:
    """Return the names of every test function."""
    return {
        name
        for file in TESTS.rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text("utf-8"), re.M)
    }


def test_every_test_that_the_document_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", DOCUMENT))
    assert len(named) > 10
    assert named - all_tests() == set()


def test_every_weakness_of_others_has_its_tests() -> None:
    table = DOCUMENT.partition("| elsewhere |")[2].partition("\n\n")[0]
    rows = table.splitlines()[2:]
    assert len(rows) >= 7
    for row in rows:
        assert re.search(r"`test_\w+` ?(?:,|\|)", row), row
