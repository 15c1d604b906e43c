"""An error as a person sees it: whole in a pipe, broken between words on a terminal."""

import pytest

from liveheap_client import workers
from liveheap_client.errors import ConnectError
from liveheap_client.render import failure

HINT = "start it with: liveheap run -- CMD, or call liveheap.start() in the program"


def test_a_long_hint_breaks_between_words_at_the_width_of_the_terminal() -> None:
    error = ConnectError("no agent", hint=f"{HINT} that grows")

    assert list(failure.lines(error, width=60)) == [
        "liveheap: no agent",
        "hint: start it with: liveheap run -- CMD, or call",
        "      liveheap.start() in the program that grows",
    ]
    assert list(failure.lines(error))[1] == f"hint: {HINT} that grows"


def test_where_agents_were_looked_for_is_told_if_somebody_chose_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("LIVEHEAP_DIR", raising=False)
    assert "LIVEHEAP_DIR" not in workers.start_hint()

    monkeypatch.setenv("LIVEHEAP_DIR", "/run/elsewhere")
    assert "LIVEHEAP_DIR=/run/elsewhere" in workers.start_hint()
