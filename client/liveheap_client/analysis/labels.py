"""The words of a path: what leads from one object to the next, and where paths start.

A path's text reads like the source where it can:

    worker.CACHE.rows[*] -> worker.Row
    greenlet -> sync() at worker.py:41 local "rows" [*] -> worker.Row
    worker.on_event closure "seen" {key} -> str

Only names of program text stand in it; every other key or index is `[*]`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from liveheap.snapshot.format import RootKind
from liveheap_client.analysis.graph import EdgeKind, HeapGraph, NodeFlag
from liveheap_client.analysis.records import Root

ELIDED: Final = frozenset({"__dict__", "__closure__", "cell_contents"})


# By the types of who holds and what is held: fields that a person will want to know. ""
# as what is held stands for anything else; an empty name is a detail, not a step.
_C_FIELDS = {
    ("functools._lru_cache_wrapper", "dict"): "cache",
    ("functools._lru_cache_wrapper", ""): "cached",
    ("_asyncio.Task", "coroutine"): "coro",
    ("_asyncio.Task", "_asyncio.Future"): "waits for",
    ("_asyncio.Task", "_contextvars.Context"): "context",
    ("_asyncio.Future", "_contextvars.Context"): "context",
    ("_asyncio.Future", "list"): "callbacks",
    ("_abc._abc_data", "set"): "registry",
    ("_thread._local", "dict"): "by thread",
    ("_queue.SimpleQueue", "list"): "items",
    ("_contextvars.Context", "hamt"): "",
    ("hamt", ""): "",
    ("hamt_array_node", ""): "",
    ("hamt_bitmap_node", "hamt_bitmap_node"): "",
    ("hamt_bitmap_node", "hamt_array_node"): "",
    ("hamt_bitmap_node", "hamt_collision_node"): "",
    ("hamt_bitmap_node", ""): "variable",
    ("hamt_collision_node", ""): "variable",
    ("itertools._tee", "itertools._tee_dataobject"): "buffer",
    ("itertools._tee_dataobject", "itertools._tee_dataobject"): "next",
    ("itertools._tee_dataobject", ""): "item",
}


class Label(IntEnum):
    """What leads from one path node to the next, as in csrc/pathnodes.h."""

    ATTRIBUTE = 1
    INTERNAL = 2
    KEYED = 3
    ITEM = 4
    KEY = 5
    LOCAL = 6
    CELL = 7
    FRAME = 8
    ROOT = 9
    UNNAMED = 10
    DEEP = 11
    STACK = 12


class Group(IntEnum):
    """The kinds of groups that paths start from."""

    MODULE = 32
    MAIN_THREAD = 33
    THREAD = 34
    GREENLET = 35
    INTERPRETER = 36
    C = 37
    SHARED = 38
    TYPES = 39
    UNEXPLAINED = 40
    UNREACHABLE = 41
    OWN = 42
    TASK = 43


GROUP_TEXT = {
    Group.MAIN_THREAD: "main thread",
    Group.THREAD: "thread",
    Group.GREENLET: "greenlet",
    Group.INTERPRETER: "interpreter",
    Group.C: "C",
    Group.SHARED: "interned",
    Group.TYPES: "type system",
    Group.UNEXPLAINED: "C roots",
    Group.UNREACHABLE: "unreachable",
    Group.OWN: "liveheap",
    Group.TASK: "asyncio task",
}
_GROUP_OF_ROOT: dict[int, Group] = {
    RootKind.GREENLET: Group.GREENLET,
    RootKind.INTERPRETER: Group.INTERPRETER,
    RootKind.INTERNED: Group.SHARED,
    RootKind.C: Group.C,
}


def label_text(label: Label, name: str, *, spaced: bool = False) -> str:  # noqa: PLR0911
    """Return a label as it stands in a path; `spaced` if a quoted name precedes."""
    # One line a label: a table would hide that four of them use the name differently.
    match label:
        case Label.ATTRIBUTE | Label.ROOT:
            return f".{name}"
        case Label.INTERNAL:
            return "" if name in ELIDED else f".{name or '__code__'}"
        case Label.KEYED:
            return f"[{name!r}]"
        case Label.LOCAL:
            return f' local "{name or "?"}"'
        case Label.CELL:
            return f' closure "{name or "?"}"'
        case Label.DEEP:
            return " (deep)"
        case Label.KEY:
            return " {key}" if spaced else "{key}"
        case Label.ITEM:
            return " [*]" if spaced else "[*]"
        case Label.STACK:
            return " stack"
        case _:
            return c_field_text()


def c_field_text(owner: str = "", held: str = "") -> str:
    """Return what a field is called that only C code has a name for."""
    name = _C_FIELDS.get((owner, held), _C_FIELDS.get((owner, ""), "C field"))
    return f".<{name}>" if name else ""


_LABEL_OF_KIND = {
    EdgeKind.ATTRIBUTE: Label.ATTRIBUTE,
    EdgeKind.SLOT: Label.ATTRIBUTE,
    EdgeKind.INTERNAL: Label.INTERNAL,
    EdgeKind.CODE: Label.INTERNAL,
    EdgeKind.ITEM: Label.ITEM,
    EdgeKind.KEY: Label.KEY,
    EdgeKind.LOCAL: Label.LOCAL,
    EdgeKind.BORROWED: Label.LOCAL,
    EdgeKind.CELL: Label.CELL,
    EdgeKind.ROOT: Label.ROOT,
    EdgeKind.UNNAMED: Label.UNNAMED,
    EdgeKind.STACK: Label.STACK,
}


def edge_label(graph: HeapGraph, edge: int) -> Label:
    """Return what an edge is called in a path."""
    kind = EdgeKind(int(graph.edge_kind[edge]) & 0x7F)
    if kind is not EdgeKind.VALUE:
        return _LABEL_OF_KIND[kind]
    if graph.edge_name[edge] == 0:
        return Label.ITEM
    folded = graph.flags[graph.source(edge)] & (NodeFlag.FOLDED | NodeFlag.NAMESPACE)
    return Label.ATTRIBUTE if folded else Label.KEYED


def root_label(root: Root) -> str:
    """Return what a root is called."""
    if root.own:
        return GROUP_TEXT[Group.OWN]
    if root.kind == RootKind.THREAD:
        return f'thread "{root.name}"' if root.name else "thread"
    return GROUP_TEXT[_GROUP_OF_ROOT.get(root.kind, Group.C)]
