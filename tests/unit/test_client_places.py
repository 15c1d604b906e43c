"""Which words of a command line are files, and which are targets."""

from pathlib import Path

import pytest

from liveheap_client.verbs.places import SNAPSHOT_MAGIC, is_snapshot


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("buy milk")
    Path("web").write_text("a log of the host called web")
    Path("web-3.d").mkdir()
    Path("kept").write_bytes(SNAPSHOT_MAGIC + b"...")


@pytest.mark.parametrize(
    "word", ["x.liveheap", "/x", "./web", "../web", "~/x", "notes.txt", "kept"]
)
def test_a_path_a_file_with_a_suffix_and_a_snapshot_are_files(word: str) -> None:
    assert is_snapshot(word)


@pytest.mark.parametrize(
    "word", ["4711", "web", "web-3", "web-3.d", "ops@web", "web/4711", "unix:/x"]
)
def test_everything_else_is_a_target_even_if_a_log_has_that_name(word: str) -> None:
    assert not is_snapshot(word)
