"""Results as exact text."""

import pytest

from liveheap.protocol.results import Blob, Column, Record, Table, Tree, TreeNode
from liveheap_client.errors import ConnectError
from liveheap_client.render import failure, shapes, units
from liveheap_client.render.escape import visible
from liveheap_client.render.table import Look, middle_cut, table

PIPE = Look()
PERSON = Look(human=True, width=40)

STATUS = Record(
    (
        ("pid", "count", 4711),
        ("program", "text", "app\x1b[31m.py"),
        ("rss", "bytes", 1234567),
        ("uptime", "seconds", 7500.0),
        ("gc_counts", "list", [1, 2, 3]),
        ("gc_enabled", "bool", True),
    )
)
HISTOGRAM = Table(
    (Column("type", "text"), Column("count", "count"), Column("bytes", "bytes")),
    (("app.Leaky", 12345, 2048), ("builtins.dict", 7, 1 << 30)),
)


def test_a_time_is_not_called_by_a_unit_that_it_does_not_have() -> None:
    (line,) = shapes.lines(Record((("seconds", "seconds", 0.026),)), look=PERSON)

    assert line.split() == ["took", "26", "ms"]


def test_a_record_for_a_person() -> None:
    assert list(shapes.lines(STATUS, look=PERSON)) == [
        "pid         4711",
        "program     app\\x1b[31m.py",
        "rss         1.2 MiB",
        "uptime      2h 5m",
        "gc_counts   1 2 3",
        "gc_enabled  yes",
    ]


def test_a_record_in_a_pipe_keeps_its_numbers() -> None:
    assert list(shapes.lines(STATUS, look=PIPE))[2:4] == [
        "rss         1234567",
        "uptime      7500",
    ]


def test_a_table_for_a_person() -> None:
    assert list(shapes.lines(HISTOGRAM, look=PERSON)) == [
        "type            count    bytes",
        "app.Leaky      12,345  2.0 KiB",
        "builtins.dict       7  1.0 GiB",
    ]


def test_a_table_in_a_pipe() -> None:
    assert list(shapes.lines(HISTOGRAM, look=PIPE)) == [
        "type           count       bytes",
        "app.Leaky      12345        2048",
        "builtins.dict      7  1073741824",
    ]


def test_a_table_that_is_too_wide_loses_the_middle_of_its_texts() -> None:
    rows = [["a.very.long.module.name.Which.Never.Ends", 1]]
    columns = (Column("type", "text"), Column("count", "count"))

    lines = table(columns, rows, look=Look(human=True, width=30))

    assert lines == ["type                     count", "a.very.long….Never.Ends      1"]
    assert max(map(len, lines)) <= 30


def test_a_bold_title_ends_before_the_line_does() -> None:
    lines = table((Column("pid", "id"),), [[1]], look=Look(bold=True))

    assert lines == ["\x1b[1mpid\x1b[0m", "  1"]


def test_a_tree() -> None:
    tree = Tree(
        TreeNode(
            "Leaky",
            (("count", "count", 10),),
            (
                TreeNode("list", (), (TreeNode("module app", (), ()),)),
                TreeNode("dict\n", (), ()),
            ),
        )
    )

    assert list(shapes.lines(tree, look=PIPE)) == [
        "Leaky  (count 10)",
        "├─ list",
        "│  └─ module app",
        "└─ dict\\x0a",
    ]


def test_json_of_every_shape_is_plain_data() -> None:
    assert shapes.as_json(STATUS)["rss"] == 1234567
    assert shapes.as_json(HISTOGRAM)[1] == {
        "type": "builtins.dict",
        "count": 7,
        "bytes": 1 << 30,
    }
    assert shapes.as_json(Tree(TreeNode("x", (("n", "count", 1),), ()))) == {
        "label": "x",
        "fields": {"n": 1},
        "children": [],
    }
    assert shapes.as_json(Blob({"pid": 1}, {"nodes": 2})) == {
        "header": {"pid": 1},
        "trailer": {"nodes": 2},
    }


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (None, "bytes", "-"),
        (0, "bytes", "0 B"),
        (1023, "bytes", "1023 B"),
        (-2048, "bytes", "-2.0 KiB"),
        (150 << 20, "bytes", "150 MiB"),
        (0.00004, "seconds", "40 us"),
        (0.0123, "seconds", "12.3 ms"),
        (59.0, "seconds", "59 s"),
        (61, "seconds", "1m 1s"),
        (90061, "seconds", "1d 1h"),
        (1234567, "count", "1,234,567"),
        (2.5, "count", "2.5"),
        (12.34, "percent", "12.3 %"),
        (4711, "id", "4711"),
        (True, "bool", "yes"),
        ("x", "bytes", "x"),
        (5, "a unit of the future", "5"),
    ],
)
def test_units_for_a_person(value: object, unit: str, expected: str) -> None:
    assert units.human(value, unit) == expected


def test_nothing_unprintable_passes() -> None:
    assert visible("a\x1b]0;x\x07\n\u202e\udc80\U000e0001é名") == (
        "a\\x1b]0;x\\x07\\x0a\\u202e\\udc80\\U000e0001é名"
    )
    assert len(visible("x" * 10_000)) == 256


def test_the_middle_is_cut_and_both_ends_stay() -> None:
    assert middle_cut("abcdefghij", 10) == "abcdefghij"
    assert middle_cut("abcdefghij", 5) == "ab…ij"


def test_an_error_is_what_happened_and_a_hint() -> None:
    error = ConnectError("ssh failed\nPermission\x1b denied", hint="try ssh")

    assert list(failure.lines(error)) == [
        "liveheap: ssh failed",
        "  Permission\\x1b denied",
        "hint: try ssh",
    ]


def test_what_a_row_is_about_is_cut_last() -> None:
    columns = (Column("holder", "text"), Column("type", "text"), Column("n", "count"))
    holder, kind = "shop.checkout.CACHE.by_customer", "collections.defaultdict_subclass"

    [_, line] = table(columns, [(holder, kind, 1)], look=Look(human=True, width=60))

    assert line.startswith(f"{holder}  collection")
    assert "…" in line
    assert len(line) <= 60
