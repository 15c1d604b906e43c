"""Texts that a verb writes into files: for their owner's eyes, and through no link."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from liveheap_client.verbs.output import write


@pytest.fixture(autouse=True)
def everybody_s_umask() -> Iterator[None]:
    """Let new files be as open as their writer says."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_only_its_owner_may_read_what_a_verb_writes(tmp_path: Path) -> None:
    place = tmp_path / "picture.svg"
    for text in ("<svg/>\n", "another\n"):
        write(place, text, option="--svg")
        assert place.read_text() == text
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["picture.svg"]


def test_a_link_that_waits_where_a_text_is_drafted_is_not_written_through(
    tmp_path: Path,
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    (tmp_path / "picture.svg.part").symlink_to(precious)

    write(tmp_path / "picture.svg", "<svg/>\n", option="--svg")

    assert precious.read_text() == "keep me"
    assert not (tmp_path / "picture.svg").is_symlink()
    assert (tmp_path / "picture.svg").read_text() == "<svg/>\n"
