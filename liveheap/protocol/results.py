"""The four shapes an answer can have: Record, Table, Tree, Blob.

Agents send numbers with their unit and never formatted text, so one renderer serves
every command and `--json` is the same data. Plain data: no behaviour beyond the way to
the wire and back. `to_wire` gives the fields that a `result` message carries beside
its id; `from_wire` checks every one of them, because either end may be hostile to the
other. Both report a fault by raising the error class that they are given: the
writer's is LocalProtocolError, the reader's RemoteProtocolError.

A reader accepts units it does not know (a newer agent may have some); a writer may
only use those of UNITS.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from liveheap.errors import (
    LocalProtocolError,
    MessageTooLarge,
    ProtocolError,
    RemoteProtocolError,
)

UNITS = ("text", "count", "bytes", "seconds", "time", "percent", "bool", "list")

FAILURE_CODES = (
    "unknown-command",
    "bad-argument",
    "no-such-type",
    "no-such-snapshot",
    "busy",
    "too-large",
    "cancelled",
    "unsupported",
    "refused",
    "scope",
    "timeout",
    "failed",
    "internal",
)

MAX_NAME = 256
MAX_UNIT = 32
MAX_VALUES = 500_000

Value = Any  # nil, bool, int, float, text, or lists and text-keyed maps of those
Culprit = type[ProtocolError]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table, or a field's heading: its name and its unit."""

    name: str
    unit: str


@dataclass(frozen=True, slots=True)
class Record:
    """One thing with named facts, in the order in which to show them."""

    fields: tuple[tuple[str, str, Value], ...]

    def as_dict(self) -> dict[str, Value]:
        """The facts by name, without their units."""
        return {name: value for name, _, value in self.fields}

    def to_wire(self) -> dict[str, Any]:
        """The fields of the result message."""
        return {"shape": "record", "fields": [list(field) for field in self.fields]}

    @classmethod
    def from_wire(
        cls, wire: Mapping[str, Any], culprit: Culprit = RemoteProtocolError
    ) -> Record:
        """Check and read the fields of a result message."""
        return cls(_read_fields(wire.get("fields"), "record", culprit))


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of equal length under named columns."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]

    def as_dicts(self) -> list[dict[str, Value]]:
        """Every row by column name."""
        names = [column.name for column in self.columns]
        return [dict(zip(names, row, strict=True)) for row in self.rows]

    def to_wire(self) -> dict[str, Any]:
        """The fields of the result message."""
        return {
            "shape": "table",
            "columns": [[column.name, column.unit] for column in self.columns],
            "rows": [list(row) for row in self.rows],
        }

    @classmethod
    def from_wire(
        cls, wire: Mapping[str, Any], culprit: Culprit = RemoteProtocolError
    ) -> Table:
        """Check and read the fields of a result message."""
        columns = []
        for pair in _array(wire.get("columns"), "columns", culprit):
            if not isinstance(pair, list) or len(pair) != 2:
                raise culprit("a column is [name, unit]")
            columns.append(Column(*_heading(pair[0], pair[1], culprit)))
        names = {column.name for column in columns}
        if len(names) != len(columns):
            raise culprit("two columns of a table have the same name")
        rows = []
        for row in _array(wire.get("rows"), "rows", culprit):
            if not isinstance(row, list) or len(row) != len(columns):
                raise culprit(f"a row of this table is an array of {len(columns)}")
            _check_values(row, culprit)
            rows.append(tuple(row))
        return cls(tuple(columns), tuple(rows))


@dataclass(frozen=True, slots=True)
class TreeNode:
    """A node of a tree: its label, its facts as in a record, and what is below it."""

    label: str
    fields: tuple[tuple[str, str, Value], ...] = ()
    children: tuple[TreeNode, ...] = ()

    def to_wire(self) -> dict[str, Any]:
        """The map that stands for this node and everything below."""
        return {
            "label": self.label,
            "fields": [list(field) for field in self.fields],
            "children": [child.to_wire() for child in self.children],
        }


@dataclass(frozen=True, slots=True)
class Tree:
    """One root and what is below it."""

    root: TreeNode

    def to_wire(self) -> dict[str, Any]:
        """The fields of the result message."""
        return {"shape": "tree", "root": self.root.to_wire()}

    @classmethod
    def from_wire(
        cls, wire: Mapping[str, Any], culprit: Culprit = RemoteProtocolError
    ) -> Tree:
        """Check and read the fields of a result message."""
        return cls(_read_node(wire.get("root"), culprit))


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes that went before as chunks: what they are, and how they ended."""

    header: dict[str, Any]
    trailer: dict[str, Any]

    def to_wire(self) -> dict[str, Any]:
        """The fields of the result message."""
        return {"shape": "blob", "header": self.header, "trailer": self.trailer}

    @classmethod
    def from_wire(
        cls, wire: Mapping[str, Any], culprit: Culprit = RemoteProtocolError
    ) -> Blob:
        """Check and read the fields of a result message."""
        header, trailer = wire.get("header"), wire.get("trailer")
        if not isinstance(header, dict) or not isinstance(trailer, dict):
            raise culprit("a blob has the maps `header` and `trailer`")
        return cls(header, trailer)


Shape = Record | Table | Tree | Blob

SHAPES: dict[str, type[Record] | type[Table] | type[Tree] | type[Blob]] = {
    "record": Record,
    "table": Table,
    "tree": Tree,
    "blob": Blob,
}


def shape_from_wire(
    wire: Mapping[str, Any], culprit: Culprit = RemoteProtocolError
) -> Shape:
    """Check and read the shape in the fields of a result message."""
    name = wire.get("shape")
    reader = SHAPES.get(name) if isinstance(name, str) else None
    if reader is None:
        raise culprit(
            f"a result's shape is one of {', '.join(SHAPES)}, not {name!r:.60}"
        )
    return reader.from_wire(wire, culprit)


def check_before_sending(shape: Shape) -> dict[str, Any]:
    """The shape's wire fields, checked as the reader will check them, and units too."""
    try:
        wire = shape.to_wire()
        shape_from_wire(wire, LocalProtocolError)
    except RecursionError as exc:
        raise MessageTooLarge("a tree too deep to be sent") from exc
    for unit in _iter_units(shape):
        if unit not in UNITS:
            raise LocalProtocolError(f"no unit {unit!r}; there are: {', '.join(UNITS)}")
    return wire


def _iter_units(shape: Shape) -> Iterable[str]:
    if isinstance(shape, Record):
        yield from (unit for _, unit, _ in shape.fields)
    elif isinstance(shape, Table):
        yield from (column.unit for column in shape.columns)
    elif isinstance(shape, Tree):
        waiting = [shape.root]
        while waiting:
            node = waiting.pop()
            yield from (unit for _, unit, _ in node.fields)
            waiting.extend(node.children)


def _read_node(wire: Any, culprit: Culprit) -> TreeNode:
    """Read a node; the recursion is as deep as the frame, whose depth is limited."""
    if not isinstance(wire, dict) or not isinstance(wire.get("label"), str):
        raise culprit("a tree's node is a map with `label`, `fields`, `children`")
    children = _array(wire.get("children"), "children", culprit)
    return TreeNode(
        wire["label"],
        _read_fields(wire.get("fields"), "node", culprit),
        tuple(_read_node(child, culprit) for child in children),
    )


def _read_fields(
    wire: Any, owner: str, culprit: Culprit
) -> tuple[tuple[str, str, Value], ...]:
    fields = []
    for field in _array(wire, f"fields of a {owner}", culprit):
        if not isinstance(field, list) or len(field) != 3:
            raise culprit(f"a {owner}'s field is [name, unit, value]")
        name, unit = _heading(field[0], field[1], culprit)
        _check_values(field[2:], culprit)
        fields.append((name, unit, field[2]))
    if len({name for name, _, _ in fields}) != len(fields):
        raise culprit(f"two fields of a {owner} have the same name")
    return tuple(fields)


def _heading(name: Any, unit: Any, culprit: Culprit) -> tuple[str, str]:
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
        raise culprit(f"a name is text of 1 to {MAX_NAME} characters")
    if not isinstance(unit, str) or not 0 < len(unit) <= MAX_UNIT:
        raise culprit(f"a unit is text of 1 to {MAX_UNIT} characters")
    return name, unit


def _array(wire: Any, what: str, culprit: Culprit) -> list[Any]:
    if not isinstance(wire, list):
        raise culprit(f"{what}: expected an array, got {type(wire).__name__}")
    return wire


def _check_values(values: Iterable[Any], culprit: Culprit) -> None:
    """Refuse what JSON has no word for; a loop, so that depth cannot hurt.

    Bounded, because a value of our own might hold itself.
    """
    waiting = list(values)
    seen = 0
    while waiting:
        value = waiting.pop()
        seen += 1
        if seen > MAX_VALUES:
            raise culprit(f"a value of more than {MAX_VALUES} parts")
        if value is None or isinstance(value, (bool, int, float, str)):
            continue
        if isinstance(value, (list, tuple)):
            waiting.extend(value)
        elif isinstance(value, dict):
            waiting.extend(value.values())
        else:
            raise culprit(f"a value is plain data, not {type(value).__name__}")
