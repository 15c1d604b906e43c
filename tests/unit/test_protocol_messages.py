"""Messages and result shapes: one table of cases feeds reader and writer."""

import math
from dataclasses import FrozenInstanceError, fields

import pytest
from peers import CONVERSATION

from liveheap.errors import (
    CommandError,
    LocalProtocolError,
    MessageTooLarge,
    RemoteProtocolError,
)
from liveheap.protocol import messages
from liveheap.protocol.messages import (
    KINDS,
    Cancel,
    Chunk,
    Failure,
    Progress,
    Request,
    Result,
    Role,
)
from liveheap.protocol.results import (
    FAILURE_CODES,
    Blob,
    Column,
    Record,
    Table,
    Tree,
    TreeNode,
    shape_from_wire,
)

GOOD = {
    "request": {"kind": "request", "id": 1, "command": "status", "args": {}},
    "cancel": {"kind": "cancel", "id": 1},
    "progress": {
        "kind": "progress",
        "id": 1,
        "phase": "walk",
        "done": 1,
        "total": None,
        "detail": {},
    },
    "chunk": {
        "kind": "chunk",
        "id": 1,
        "offset": 0,
        "raw_length": 3,
        "codec": 0,
        "data": b"abc",
    },
    "result": {"kind": "result", "id": 1, "shape": "record", "fields": []},
    "failure": {
        "kind": "failure",
        "id": 1,
        "code": "busy",
        "message": "",
        "hint": None,
        "detail": {},
    },
}

BAD_VALUES = {
    "id": [None, -1, 2**32, 1.0, "1", True, b"1", [], {}],
    "command": [None, "", "x" * 65, 1, b"status", []],
    "args": [None, [], 1, "x"],
    "phase": [None, "", "x" * 65, 1],
    "done": [None, -1, 2**64, 0.5, True, "1"],
    "total": [-1, 2**64, 0.5, False, "1"],
    "detail": [None, [], "x"],
    "offset": [None, -1, 2**64, 0.0, True],
    "raw_length": [None, -1, 4 * 1024 * 1024 + 1, 3.0, True, 2, 4],
    "codec": [None, -1, 2, False, True, "zstd", 1.0, 0.0],
    "data": [None, "abc", [], 3],
    "code": [None, "", "x" * 65, 5],
    "message": [None, 5, b"x"],
    "hint": [5, b"x", []],
    "shape": [None, "", "graph", 5, [], {}, b"record"],
    "fields": [None, 5, {}, "x", [1], [[]], [["a", "count"]], [["a", "count", 1, 2]]],
}

SHAPES = [
    Record(()),
    Record((("pid", "count", 1), ("name", "text", "web"), ("idle", "bool", True))),
    Record((("gc", "list", [1, 2, [3]]), ("none", "text", None), ("x", "list", {}))),
    Table((), ()),
    Table((Column("type", "text"), Column("n", "count")), (("a", 1), ("b", 2))),
    Tree(TreeNode("root")),
    Tree(TreeNode("a", (("n", "count", 1),), (TreeNode("b"), TreeNode("b")))),
    Blob({}, {}),
    Blob({"version": 1}, {"sha256": "0" * 64, "flags": []}),
]

BAD_SHAPES = [
    {"shape": "record"},
    {"shape": "record", "fields": [["", "count", 1]]},
    {"shape": "record", "fields": [["x" * 257, "count", 1]]},
    {"shape": "record", "fields": [["a", "", 1]]},
    {"shape": "record", "fields": [["a", "u" * 33, 1]]},
    {"shape": "record", "fields": [[1, "count", 1]]},
    {"shape": "record", "fields": [["a", 1, 1]]},
    {"shape": "record", "fields": [["a", "text", b"bytes"]]},
    {"shape": "record", "fields": [["a", "list", [[b"bytes"]]]]},
    {"shape": "record", "fields": [["a", "list", {"x": b"bytes"}]]},
    {"shape": "record", "fields": [["a", "count", 1], ["a", "count", 2]]},
    {"shape": "table"},
    {"shape": "table", "columns": []},
    {"shape": "table", "columns": [["a"]], "rows": []},
    {"shape": "table", "columns": [["a", "count", 1]], "rows": []},
    {"shape": "table", "columns": ["ab"], "rows": []},
    {"shape": "table", "columns": [["a", "count"], ["a", "text"]], "rows": []},
    {"shape": "table", "columns": [["a", "count"]], "rows": [[]]},
    {"shape": "table", "columns": [["a", "count"]], "rows": [[1, 2]]},
    {"shape": "table", "columns": [["a", "count"]], "rows": [1]},
    {"shape": "table", "columns": [["a", "count"]], "rows": ["x"]},
    {"shape": "table", "columns": [["a", "count"]], "rows": [[b"x"]]},
    {"shape": "tree"},
    {"shape": "tree", "root": []},
    {"shape": "tree", "root": {"fields": [], "children": []}},
    {"shape": "tree", "root": {"label": 1, "fields": [], "children": []}},
    {"shape": "tree", "root": {"label": "a", "children": []}},
    {"shape": "tree", "root": {"label": "a", "fields": []}},
    {"shape": "tree", "root": {"label": "a", "fields": [], "children": [1]}},
    {"shape": "blob"},
    {"shape": "blob", "header": {}},
    {"shape": "blob", "header": {}, "trailer": []},
    {"shape": "blob", "header": "x", "trailer": {}},
]


@pytest.mark.parametrize("message", CONVERSATION, ids=repr)
def test_what_is_written_is_read(message):
    assert messages.read(messages.write(message)) == message


@pytest.mark.parametrize("word", sorted(GOOD))
def test_unknown_fields_are_ignored(word):
    newer = {**GOOD[word], "colour": "red", "more": [1, {"x": b""}]}
    assert messages.read(newer) == messages.read(GOOD[word])


@pytest.mark.parametrize(
    "word", [None, "", "Request", "ping", 1, b"request", ["request"], {}, "x" * 99999]
)
def test_an_unknown_kind_is_an_error_that_does_not_repeat_all_of_it(word):
    with pytest.raises(RemoteProtocolError, match="unknown kind") as caught:
        messages.read({**GOOD["request"], "kind": word})
    assert len(str(caught.value)) < 200


def test_a_message_without_a_kind_is_an_error():
    with pytest.raises(RemoteProtocolError):
        messages.read({"id": 1})


@pytest.mark.parametrize(
    ("word", "name", "value"),
    [
        (word, name, value)
        for word, good in GOOD.items()
        for name in good
        if name != "kind"
        for value in BAD_VALUES[name]
    ],
)
def test_a_field_of_the_wrong_type_or_size_is_refused(word, name, value):
    with pytest.raises(RemoteProtocolError) as caught:
        messages.read({**GOOD[word], name: value})
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("word", "name"),
    [(word, name) for word, good in GOOD.items() for name in good if name != "kind"],
)
def test_a_missing_field_is_refused_unless_it_has_a_default(word, name):
    wire = {key: value for key, value in GOOD[word].items() if key != name}
    if name in {"args", "done", "total", "detail", "hint"}:
        message = messages.read(wire)
        assert getattr(message, name) in ({}, 0, None)
    else:
        with pytest.raises(RemoteProtocolError):
            messages.read(wire)


@pytest.mark.parametrize(
    "message",
    [
        Request(-1, "status"),
        Request(2**32, "status"),
        Request(True, "status"),
        Request(1, ""),
        Request(1, "x" * 65),
        Request(1, "status", None),  # type: ignore[arg-type]
        Progress(1, "walk", -1),
        Progress(1, "walk", 0.5),  # type: ignore[arg-type]
        Chunk(1, 0, 4, 0, b"abc"),
        Chunk(1, 0, 3, 2, b"abc"),
        Chunk(1, -1, 3, 0, b"abc"),
        Failure(1, "no-such-code", "x"),
        Failure(1, "busy", None),  # type: ignore[arg-type]
        Result(1, Record((("a", "furlong", 1),))),
        Result(1, Table((Column("a", "furlong"),), ())),
        Result(1, Tree(TreeNode("a", (), (TreeNode("b", (("a", "x", 1),)),)))),
        Result(1, Table((Column("a", "count"),), ((1, 2),))),
        Result(1, Record((("a", "text", b"x"),))),
        "status",
        None,
    ],
    ids=repr,
)
def test_what_the_peer_would_refuse_is_not_written(message):
    with pytest.raises(LocalProtocolError):
        messages.write(message)


@pytest.mark.parametrize("shape", SHAPES, ids=repr)
def test_a_shape_survives_the_wire(shape):
    assert shape_from_wire(shape.to_wire()) == shape
    assert type(shape).from_wire(shape.to_wire()) == shape


@pytest.mark.parametrize("wire", BAD_SHAPES, ids=repr)
def test_a_malformed_shape_is_refused(wire):
    with pytest.raises(RemoteProtocolError):
        shape_from_wire(wire)


def test_a_reader_accepts_a_unit_it_does_not_know():
    wire = {"shape": "record", "fields": [["a", "furlongs", 1]]}
    assert shape_from_wire(wire) == Record((("a", "furlongs", 1),))


def test_records_and_tables_are_read_by_name():
    assert Record((("a", "count", 1), ("b", "text", "x"))).as_dict() == {
        "a": 1,
        "b": "x",
    }
    table = Table((Column("t", "text"), Column("n", "count")), (("a", 1), ("b", 2)))
    assert table.as_dicts() == [{"t": "a", "n": 1}, {"t": "b", "n": 2}]


def test_messages_of_two_kinds_are_never_equal_and_never_change():
    assert Request(1, "a") != Progress(1, "a")
    assert Cancel(1) == Cancel(1)
    with pytest.raises(FrozenInstanceError):
        Cancel(1).id = 2  # type: ignore[misc]


def test_the_table_of_kinds_names_every_field_of_every_class():
    for cls, kind in KINDS.items():
        named = {rule.name for rule in kind.fields}
        assert named == {field.name for field in fields(cls)} - {"shape"}


def test_a_command_error_travels_as_a_failure():
    error = CommandError("busy", "a walk runs", hint="wait", detail={"seconds": 3})
    failure = Failure.of(7, error)
    assert failure == Failure(7, "busy", "a walk runs", "wait", {"seconds": 3})
    returned = failure.to_error()
    assert (returned.code, str(returned), returned.hint, returned.detail) == (
        "busy",
        "a walk runs",
        "wait",
        {"seconds": 3},
    )


@pytest.mark.parametrize("code", FAILURE_CODES)
def test_every_failure_code_can_be_sent(code):
    assert messages.read(messages.write(Failure(1, code, "")))


def test_a_failure_code_of_a_newer_agent_is_read():
    assert messages.read({**GOOD["failure"], "code": "too-hot"}).to_error().code == (
        "too-hot"
    )


def test_numbers_without_an_end_are_left_to_the_frame():
    wire = {"shape": "record", "fields": [["a", "percent", math.nan]]}
    assert math.isnan(shape_from_wire(wire).as_dict()["a"])


def test_each_role_knows_its_peer():
    assert Role.CLIENT.peer is Role.AGENT
    assert Role.AGENT.peer is Role.CLIENT


def test_a_value_that_holds_itself_is_refused_and_not_walked_for_ever():
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(LocalProtocolError, match="parts"):
        messages.write(Result(1, Record((("a", "list", endless),))))


def test_a_tree_deeper_than_the_stack_is_too_large():
    node = TreeNode("leaf")
    for _ in range(100_000):
        node = TreeNode("node", (), (node,))
    try:
        with pytest.raises(MessageTooLarge):
            messages.write(Result(1, Tree(node)))
    finally:
        while node.children:
            node = node.children[0]
