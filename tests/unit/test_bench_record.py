"""The benchmark's record: what is kept of a part, what of it the README shows."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import readme

BENCH = Path(__file__).parents[1] / "bench"


@pytest.fixture
def bench(monkeypatch):
    """The modules `table` and `record`, for this test alone."""
    found = {}
    for name in ("table", "record"):
        spec = importlib.util.spec_from_file_location(name, BENCH / f"{name}.py")
        assert spec
        assert spec.loader
        found[name] = module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
    return found


@pytest.fixture
def parts(bench):
    row, part = bench["table"].Row, bench["record"].Part.of
    pause = row("pause", "4 ms", "<= 1.15x", "bare 5 ms", "0.8x", True)
    machine = "- 4 cores"
    return {
        "aged": part(["- day 1, commit a", machine], [row("RSS", "9 MB"), pause]),
        "fresh": part(["- day 2, commit b", machine], [row("walk", "9 M/s", ">= 14")]),
        "tasks": part(["- day 1, commit a", machine], [row("label", "2 us", "< 3 us")]),
    }


def test_what_is_written_is_read_again(bench, parts, tmp_path):
    bench["record"].write(tmp_path / "results.md", parts)

    assert bench["record"].read(tmp_path / "results.md") == parts
    assert bench["record"].read(tmp_path / "none.md") == {}


def test_the_readme_shows_what_has_a_target_and_when_it_was_measured(
    bench, parts, tmp_path
):
    place = tmp_path / "README.md"
    begin, end = readme.marks("benchmark")
    place.write_text(f"before\n{begin}\nold\n{end}\nafter\n")

    bench["record"].publish(parts, place)

    text = place.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "- day 1, commit a: aged, tasks\n- day 2, commit b: fresh\n" in text
    assert "pause" in text
    assert "walk" in text
    assert "RSS" not in text
    assert "old" not in text
