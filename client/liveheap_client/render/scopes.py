"""The scopes of a worker as `status` shows them: what each allows, and who opens it.

What a scope allows is broken over lines where the screen is narrow: a list that is cut
would hide what somebody may do.
"""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from liveheap.protocol.results import Column
from liveheap_client.render.escape import visible
from liveheap_client.render.table import Look, table

LIST = "scopes"
Row = tuple[str, str, str]
_NARROWEST = 20
_COLUMNS = (Column("scope", "text"), Column("allows", "text"), Column("", "text"))


def lines(facts: Mapping[str, Any], *, look: Look) -> Iterator[str]:
    """Yield a table of the scopes; nothing of an agent that does not tell."""
    told = facts.get(LIST)
    scopes = [each for each in told if isinstance(each, dict)] if told else []
    if scopes:
        rows = [_row(each, facts.get("scope")) for each in scopes]
        yield from table(_COLUMNS, list(_broken(rows, look.width)), look=look)


def _broken(rows: list[Row], width: int | None) -> Iterator[Row]:
    """Yield the rows in as many lines as they need."""
    beside = sum(max(len(row[place]) for row in rows) + 2 for place in (0, 2))
    room = None if width is None else max(width - beside, _NARROWEST)
    for name, allows, state in rows:
        first, *more = (textwrap.wrap(allows, room) if room else [allows]) or [""]
        yield name, first, state
        yield from (("", line, "") for line in more)


def _row(scope: Mapping[str, Any], mine: object) -> Row:
    name = str(scope.get("scope"))
    commands = scope.get("commands")
    names = ", ".join(map(visible, commands)) if isinstance(commands, list) else ""
    if not scope.get("open"):
        return name, names, f"off; its owner: LIVEHEAP_ALLOW={name}"
    return name, names, "this session" if name == mine else ""
