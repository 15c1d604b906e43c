"""The scopes of a worker as `status` shows them: what each allows, and who opens it."""

from collections.abc import Iterator, Mapping
from typing import Any

from liveheap.protocol.results import Column
from liveheap_client.render.escape import visible
from liveheap_client.render.table import Look, table

LIST = "scopes"
_COLUMNS = (Column("scope", "text"), Column("allows", "text"), Column("", "text"))


def lines(facts: Mapping[str, Any], *, look: Look) -> Iterator[str]:
    """Yield a table of the scopes; nothing of an agent that does not tell."""
    told = facts.get(LIST)
    scopes = [each for each in told if isinstance(each, dict)] if told else []
    if scopes:
        rows = [_row(each, facts.get("scope")) for each in scopes]
        yield from table(_COLUMNS, rows, look=look)


def _row(scope: Mapping[str, Any], mine: object) -> tuple[str, str, str]:
    name = str(scope.get("scope"))
    commands = scope.get("commands")
    names = ", ".join(map(visible, commands)) if isinstance(commands, list) else ""
    if not scope.get("open"):
        return name, names, f"off; its owner: LIVEHEAP_ALLOW={name}"
    return name, names, "this session" if name == mine else ""
