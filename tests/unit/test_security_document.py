"""SECURITY.md promises what tests hold: each test that it names is there."""

import re
from pathlib import Path

from liveheap.agent.config import Config
from liveheap.commands import COMMANDS
from liveheap.protocol.auth import Scope

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


def test_the_table_of_scopes_is_that_of_the_commands() -> None:
    table = DOCUMENT.partition("| scope | commands |")[2].partition("\n\n")[0]
    rows = [row.split(" | ") for row in table.splitlines()[2:]]
    assert [row[0].strip("| `") for row in rows] == [scope.label for scope in Scope]
    for scope, (_, commands, _, _, default) in zip(Scope, rows, strict=True):
        of_their_own = commands.partition(", and ")[0]
        named = re.findall(r"`([a-z-]+)`", of_their_own)
        assert named == [each.name for each in COMMANDS if each.scope is scope]
        assert default.strip(" |") == ("on" if scope <= Config().allow else "off")
