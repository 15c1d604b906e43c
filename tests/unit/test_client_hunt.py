"""What a hunt says of rounds that were kept."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from liveheap_client.commands.rounds import round_path
from liveheap_client.desk import Desk
from liveheap_client.errors import UsageError
from liveheap_client.verbs.hunt import Hunt, refuse_kept_round


def test_rounds_kept_before_are_not_overwritten_and_the_hint_is_of_this_verb(
    tmp_path: Path,
) -> None:
    kept = tmp_path / "round-001.liveheap"
    refuse_kept_round(kept)
    kept.touch()

    with pytest.raises(UsageError, match="exists already") as caught:
        refuse_kept_round(kept)

    assert "--keep names a new directory" in str(caught.value.hint)
    assert "-o" not in str(caught.value.hint).split()


def test_an_interrupted_hunt_names_the_rounds_it_leaves(tmp_path: Path) -> None:
    said: list[str] = []
    desk = SimpleNamespace(terminal=SimpleNamespace(say=said.append))
    hunt = Hunt(cast(Desk, desk), interval_s=600, rounds=5, talk_only=True)

    hunt.say_what_is_kept(None)
    hunt.say_what_is_kept(tmp_path)
    round_path(tmp_path, 1).touch()
    hunt.say_what_is_kept(tmp_path)
    round_path(tmp_path, 2).touch()
    hunt.say_what_is_kept(tmp_path)

    assert said == [
        f"note: round 1 is kept: {tmp_path}/round-001.liveheap",
        f"note: 2 rounds are kept: liveheap leaks {tmp_path}/round-*.liveheap",
    ]
