"""The scopes of a worker on a screen: nothing that somebody may do is cut away."""

from typing import Any

from liveheap_client.render import scopes
from liveheap_client.render.table import Look

FACTS: dict[str, Any] = {
    "scope": "graph",
    "scopes": [
        {
            **{"scope": "read", "open": True},
            "commands": ["status", "history", "tasks", "memory", "histogram", "gc"],
        },
        {"scope": "graph", "open": True, "commands": ["snapshot"]},
        {"scope": "values", "open": False, "commands": ["snapshot --values", "clone"]},
    ],
}


def test_what_a_scope_allows_is_broken_over_lines_on_a_narrow_screen() -> None:
    assert list(scopes.lines(FACTS, look=Look(human=True, width=76))) == [
        "scope   allows",
        "read    status, history, tasks,",
        "        memory, histogram, gc",
        "graph   snapshot                  this session",
        "values  snapshot --values, clone  off; its owner: LIVEHEAP_ALLOW=values",
    ]


def test_a_pipe_gets_each_scope_in_one_line() -> None:
    lines = list(scopes.lines(FACTS, look=Look()))

    assert len(lines) == 1 + len(FACTS["scopes"])
    assert "memory, histogram, gc" in lines[1]
