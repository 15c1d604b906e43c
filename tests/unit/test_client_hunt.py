"""What a hunt says of files that it cannot use or overwrite."""

from pathlib import Path

import pytest

from liveheap_client.errors import UsageError
from liveheap_client.verbs.hunt import refuse_kept_round


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
