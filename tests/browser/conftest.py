"""One browser for all checks, and the page of five rounds that they look at."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from liveheap_client.report.backrefs import backrefs_page
from liveheap_client.report.page import page

if TYPE_CHECKING:
    from chromium import Browser

HERE = Path(__file__).parent
sys.path += [str(HERE), str(HERE.parent / "unit")]


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """A browser; what one check emulates, the next one undoes."""
    from chromium import Browser

    with Browser.started() as browser:
        yield browser


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of five rounds with many types."""
    from test_report_page import heap, material

    path = tmp_path_factory.mktemp("plain") / "plain.html"
    rounds = [heap(10 * number, n_types=60) for number in range(1, 6)]
    path.write_text(page(material(rounds)), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Pages whose types, programs and flags would run code if they could."""
    from test_report_markup import HOSTILE
    from test_report_page import grown

    directory = tmp_path_factory.mktemp("hostile")
    evil = [
        "</script><script>window.harmed = 1</script>",
        "<img src=x onerror='window.harmed = 1'>",
        "<svg/onload=window.harmed=1>",
        *(name for name in HOSTILE if "\ud800" not in name),
    ]
    paths = []
    for number, name in enumerate(evil):
        made = grown(row=name)
        report = directory / f"report-{number}.html"
        report.write_text(page(made), encoding="utf-8")
        backrefs = directory / f"backrefs-{number}.html"
        tree = next(iter(made.backrefs.values()))
        text = backrefs_page(tree, tool="liveheap")
        backrefs.write_text(text, encoding="utf-8")
        paths += [report, backrefs]
    return paths
