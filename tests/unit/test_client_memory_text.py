"""What `memory` shows, to the letter."""

import json
from pathlib import Path
from typing import Any

import pytest
from test_analysis_breakdown import MIB, record

from liveheap_client.errors import ClientError
from liveheap_client.render.memory import bar, lines
from liveheap_client.render.table import Look
from liveheap_client.verbs.memory import read, report_of

SCREEN = Look(human=True, width=80)
FACTS = {
    "program": "worker.py",
    "exclusive": 60 * MIB,
    "inherited": 20 * MIB,
    "swapped": 0,
    "descriptors": 12,
    "descriptors_cut_short": False,
    "descriptor_kinds": [["file", 2], ["tcp", 10]],
    "local_ports": [[8000, 10]],
    "remote_ports": [[6379, 9], [443, 1]],
}


def shown(now: dict[str, Any], earlier: dict[str, Any] | None = None) -> list[str]:
    return list(lines(report_of({**now, **FACTS}, earlier), look=SCREEN))


def test_one_look_is_a_table_with_bars_what_stands_out_and_the_open_files() -> None:
    assert shown(record(malloc_free=40, objects=30)) == [
        "RSS 80.0 MiB of worker.py, 60.0 MiB of it only here, 20.0 MiB shared with "
        "parent or child",
        "",
        "part                size   share",
        "malloc, free    40.0 MiB  50.0 %  ████████████",
        "Python objects  30.0 MiB  37.5 %  █████████",
        "malloc, in use  10.0 MiB  12.5 %  ███",
        "",
        "40.0 MiB are free and kept by malloc.",
        "  try: liveheap trim gives back 40.0 MiB, and who calls malloc may wait 20 ms",
        "       for it; MALLOC_TRIM_THRESHOLD_=131072 has malloc keep less",
        "",
        "open files: 12 (10 tcp, 2 file); tcp: 9 to port 6379, 1 to port 443",
    ]


def test_two_looks_show_growth_and_its_cause() -> None:
    text = shown(record(objects=50, shared=5), record())

    assert text[2].split() == ["part", "size", "growth", "share"]
    assert "Python objects  50.0 MiB  +20.0 MiB  76.9 %" in text[3]
    assert "grew: Python objects: 20.0 MiB more." in text
    assert "grew: Mapped memory: 5.0 MiB more, most of it shared memory." in text


def test_growth_of_nothing_is_said() -> None:
    assert "RSS changed by +0 B: no part of it grew by as much as a MiB." in shown(
        record(), record()
    )


def test_a_hostile_name_is_seen_and_not_obeyed() -> None:
    now = {**record(), **FACTS, "program": "\x1b[2J", "malloc": "\x1b]0;x\x07"}
    text = "\n".join(lines(report_of({**now, "glibc": None}, None), look=SCREEN))

    assert "\x1b" not in text
    assert "\\x1b" in text


@pytest.mark.parametrize(
    ("share", "drawn"), [(0, ""), (0.004, "▏"), (0.5, "█" * 12), (1, "█" * 24)]
)
def test_a_bar_is_drawn_in_eighths(share: float, drawn: str) -> None:
    assert bar(share) == drawn


def test_a_file_of_an_earlier_look_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(report_of(record(), None)))

    assert read(file) == record()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"memory": {"rss": "9"}}', "[" * 100_000, "\x00"]
)
def test_a_file_that_is_something_else_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "a.json"
    file.write_text(text)
    with pytest.raises(ClientError) as refused:
        read(file)

    assert "--json > FILE" in (refused.value.hint or "")


def test_a_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="No such file"):
        read(tmp_path / "missing.json")
