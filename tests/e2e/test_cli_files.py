"""Verbs on snapshot files: no worker, no session."""

import json
import os
import sys
from pathlib import Path

import pytest
from command_line import liveheap

sys.path.append(str(Path(__file__).parents[1] / "unit"))

from stream_builder import GraphBuilder, write_snapshot

BAD_FILE, SAID_NO, USAGE = 6, 5, 2
ENV = {k: v for k, v in os.environ.items() if not k.startswith("LIVEHEAP")}


def grown(rows: int) -> GraphBuilder:
    builder = GraphBuilder()
    leaky = builder.type("app", "Leaky", ["payload"])
    cache = builder.type("app", "Cache", ["rows"])
    items = [builder.instance(leaky, [builder.leaf()]) for _ in range(rows)]
    builder.module("app", {"CACHE": builder.instance(cache, [builder.list(items)])})
    return builder


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [
        write_snapshot(tmp_path / f"{number}.liveheap", grown(number * 10))
        for number in range(1, 5)
    ]


def test_diff_of_files_names_the_path_first(files: list[Path]) -> None:
    shown = liveheap("diff", *files, env=ENV).stdout
    report = json.loads(liveheap("diff", "--json", *files, env=ENV).stdout)

    assert "1. app.CACHE.rows[*] -> app.Leaky" in shown
    assert {"rounds", "suspects", "types", "rss"} <= set(report)
    first = report["suspects"][0]
    assert {"path", "type", "counts", "bytes", "retaining_path"} <= set(first)
    assert first["counts"] == [10, 20, 30, 40]


def test_backrefs_of_a_file(files: list[Path]) -> None:
    shown = liveheap("backrefs", "Leaky", files[0], env=ENV).stdout
    tree = json.loads(liveheap("backrefs", "Leaky", files[0], "--json", env=ENV).stdout)
    dot = liveheap("backrefs", "app.Leaky", files[0], "--dot", env=ENV).stdout

    assert shown.splitlines()[0] == "app.Leaky  x10"
    assert "module app" in shown
    assert tree["count"] == 10
    assert dot.startswith("digraph")


def test_an_unknown_type_is_a_no_with_a_suggestion(files: list[Path]) -> None:
    done = liveheap("backrefs", "Leakx", files[0], env=ENV, expect=SAID_NO)

    assert "did you mean app.Leaky" in done.stderr


def test_histogram_of_a_file(files: list[Path]) -> None:
    rows = json.loads(liveheap("histogram", files[0], "--json", env=ENV).stdout)

    assert {"type": "app.Leaky", "count": 10, "bytes": 480} in rows


def test_a_file_without_our_suffix_is_known_by_its_first_bytes(
    files: list[Path],
) -> None:
    plain = files[0].rename(files[0].with_suffix(""))

    assert "Leaky" in liveheap("histogram", plain, env=ENV).stdout


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[:-40], "not complete"),
        (lambda data: data[:5], "ends within"),
        (lambda data: b"", "not a liveheap snapshot"),
        (lambda data: data[:8] + b"\x09\x00" + data[10:], "format 9.0"),
        (lambda data: data[:200] + b"\xff" + data[201:], "CRC-32"),
    ],
)
def test_a_bad_file_is_exit_6_and_no_traceback(
    damage: object, words: str, files: list[Path]
) -> None:
    assert callable(damage)
    files[0].write_bytes(damage(files[0].read_bytes()))

    for verb in (["histogram"], ["backrefs", "Leaky"]):
        done = liveheap(*verb, files[0], env=ENV, expect=BAD_FILE)
        assert words in done.stderr


def test_an_ordinary_file_is_no_host_to_ask(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("buy milk")

    done = liveheap("histogram", notes, env=ENV, expect=BAD_FILE)
    assert "hint: liveheap snapshot TARGET writes one; a worker" in done.stderr
    assert "localhost/NAME" in done.stderr
    done = liveheap("leaks", notes, "--interval", "2", env=ENV, expect=USAGE)
    assert "is a file, but no snapshot" in done.stderr
    for words in (["backrefs", "T", notes], ["diff", notes, "x"]):
        done = liveheap(*words, env=ENV, expect=None)
        assert done.returncode in (BAD_FILE, USAGE)
        assert "ssh" not in done.stderr
        assert "hint: " in done.stderr


def test_every_bad_file_comes_with_a_hint(files: list[Path]) -> None:
    files[0].write_bytes(files[0].read_bytes()[:-40])

    done = liveheap("histogram", files[0], env=ENV, expect=BAD_FILE)

    assert "hint: take it again" in done.stderr


def test_a_snapshot_is_not_compared_with_itself(files: list[Path]) -> None:
    again = files[0].with_name("link.liveheap")
    again.symlink_to(files[0])

    for twice in (files[0], again):
        done = liveheap("diff", files[0], twice, env=ENV, expect=USAGE)
        assert "given twice" in done.stderr


def test_files_in_the_wrong_order_are_compared_with_a_word_about_it(
    tmp_path: Path,
) -> None:
    newer = write_snapshot(tmp_path / "b.liveheap", grown(9), header={"created": 20.5})
    older = write_snapshot(tmp_path / "a.liveheap", grown(5), header={"created": 10})

    told = liveheap("diff", newer, older, env=ENV)
    assert "put in the order they were taken in" in told.stderr
    assert told.stdout == liveheap("diff", older, newer, env=ENV).stdout
    assert liveheap("diff", older, newer, env=ENV).stderr == ""


@pytest.mark.parametrize(
    "option",
    [("--interval", "5"), ("--rounds", "3"), ("--keep", "x"), ("--gc",), ("--force",)],
)
def test_options_for_a_live_worker_are_refused_for_files(
    option: tuple[str, ...], files: list[Path]
) -> None:
    done = liveheap("diff", *files, *option, env=ENV, expect=USAGE)

    assert f"{option[0]}: for a live worker only" in done.stderr


def test_backrefs_says_which_word_is_wrong(files: list[Path]) -> None:
    both = liveheap("backrefs", "T", files[0], "--dot", "--json", env=ENV, expect=USAGE)
    swapped = liveheap("backrefs", files[0], env=ENV, expect=USAGE)

    assert "exclude each other" in both.stderr
    assert f"hint: liveheap backrefs TYPE {files[0]}" in swapped.stderr


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    done = liveheap("histogram", tmp_path / "x.liveheap", env=ENV, expect=BAD_FILE)

    assert "x.liveheap" in done.stderr


@pytest.mark.parametrize(
    "words", [["diff", "{0}"], ["diff", "{0}", "4711"], ["diff", "--keep", "x", "{0}"]]
)
def test_diff_needs_two_files_or_one_target(
    words: list[str], files: list[Path]
) -> None:
    liveheap(*(word.format(files[0]) for word in words), env=ENV, expect=USAGE)
