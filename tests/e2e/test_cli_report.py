"""`report` and `backrefs --svg/--html`: files a person named, whole or not at all."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from command_line import liveheap
from test_cli_files import ENV, USAGE, files

__all__ = ["files"]


def test_report_of_rounds_is_one_page_under_the_name_asked_for(
    files: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out.html"
    done = liveheap("report", *files, "-o", out, env=ENV)

    assert done.stdout.strip() == str(out)
    assert "app.CACHE.rows[*]" in out.read_text(encoding="utf-8")
    again = liveheap("report", *files, "-o", out, env=ENV, expect=USAGE)
    assert "--force-overwrite" in again.stderr
    assert sorted(tmp_path.iterdir()) == sorted([*files, out])


def test_backrefs_draws_a_picture_and_a_page(files: list[Path], tmp_path: Path) -> None:
    svg, html = tmp_path / "out.svg", tmp_path / "out.html"
    words = ("backrefs", "Leaky", files[0], "--svg", svg, "--html", html)
    done = liveheap(*words, env=ENV)

    assert done.stdout.split() == [str(svg), str(html)]
    assert ElementTree.parse(svg).getroot().tag.endswith("svg")
    assert "app.Leaky" in html.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["report"], "needs a snapshot file"),
        (["report", "{0}", "{0}"], "given twice"),
        (["report", "{0}", "-o", "/dev/null"], "is none"),
        (["backrefs", "Leaky", "{0}", "--svg", "/"], "is none"),
    ],
)
def test_what_cannot_be_is_refused_before_the_work(
    words: list[str], said: str, files: list[Path]
) -> None:
    done = liveheap(*(w.format(files[0]) for w in words), env=ENV, expect=USAGE)

    assert said in done.stderr
    assert "hint: " in done.stderr
