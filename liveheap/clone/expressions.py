"""What may be asked under scope values: expressions on `h`, `hp` and `objgraph`.

Not Python, though it reads like it: names, attributes, subscripts, calls, a few
operators, and `name = ...` to keep something. The tree that CPython's parser makes is
walked here, and what is not in the tables is refused with the way out. Rules:

* heapy's objects answer the names in HEAPY, `hp` those in SESSION, objgraph those in
  OBJGRAPH. None of them writes a file, opens a window or calls what it is given. heapy
  evaluates some texts as Python (those of its relation `Via`), so no text is given to
  it but the names of relations.
* An attribute of any other object is what its dict or slot holds: no property, no
  `__getattr__`, no method of the worker is run. A subscript is the builtin container's,
  by a number or a text of Python's own: not even a key's `__eq__`, an index's
  `__index__` or a dict's `__missing__` runs for it.
* Nothing can be called but those functions; no argument of theirs is a function, but
  objgraph's own predicate.
* Names with two underscores in front, and names like `password`, are refused.

It reads, then, what the worker holds, and runs nothing of it. Whoever wants Python asks
for scope exec.
"""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MemberDescriptorType, ModuleType
from typing import Any, TypeVar

from liveheap.clone import showing

V = TypeVar("V")

FILE = "<clone>"
ONLY_AST = 0x400
MOST_ARGUMENTS = 10_000


def table(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


HEAPY = table("""
    all brief by byclodo byid byidset bymodule bysize bytype byunity byvia byrcs count
    diff disjoint domisize dominos get_rp get_shpaths imdom indisize kind more owners
    partition parts pathsin pathsout referents referrers rp shpaths size sp stat theone
    depth numpaths maxpaths nodes cumulsize index name timemade a b c d e f g i
""")
SESSION = table("""
    heap heapu iso setref setrelheap setrelheapu Class Clodo Id Idset Module Nothing Rcs
    Size Type Unity
""")
CALLED = table("""
    by diff disjoint get_rp get_shpaths heap heapu iso setref setrelheap setrelheapu
    Class Type
""")
RELATIONS = table("Class Clodo Id Idset Module Rcs Size Type Unity Via")
OBJGRAPH = table("""
    at by_type count find_backref_chain find_ref_chain get_leaking_objects growth
    is_proper_module most_common_types show_backrefs show_chain show_growth
    show_most_common_types show_refs typestats
""")
KEYWORDS = table("""
    backrefs extra_ignore imdom bf depth er limit max_depth nocyc objects obj objs
    predicate refcounts shortnames too_many typename src rma abs stat
""")
LOOKS_AT = table("find_backref_chain find_ref_chain show_backrefs show_chain show_refs")
NAMES_OBJECTS = table("obj objs")
TAKES_OBJECTS: Mapping[str, int] = {
    "by_type": 1,
    "count": 1,
    "get_leaking_objects": 0,
    "most_common_types": 1,
    "show_most_common_types": 1,
    "typestats": 0,
}
OPERATORS: Mapping[str, Any] = {
    "Add": operator.add,
    "BitAnd": operator.and_,
    "BitOr": operator.or_,
    "BitXor": operator.xor,
    "Sub": operator.sub,
    "Eq": operator.eq,
    "NotEq": operator.ne,
    "Lt": operator.lt,
    "LtE": operator.le,
    "Gt": operator.gt,
    "GtE": operator.ge,
    "USub": operator.neg,
    "Not": operator.not_,
    "Invert": operator.invert,
}
PLAIN = (bool, int, float, str, bytes, type(None))
SEQUENCES = (list, tuple, str, bytes, bytearray, deque)
ROOTS = ("h", "hp", "objgraph", "len")


class Refused(Exception):
    """It is not among what may be asked."""


def parse(text: str, *, whole: bool) -> Any:
    """Return the tree of a text; None if it goes on."""
    from codeop import compile_command  # noqa: PLC0415 -- in the copy only

    if not whole and compile_command(text, FILE, "single") is None:
        return None
    return compile(text, FILE, "exec", ONLY_AST)


class Evaluator:
    """Evaluates such expressions; keeps what was given a name."""

    def __init__(self, tool: Callable[[str], Any]) -> None:
        self._tool = tool
        self.names: dict[str, Any] = {}
        self.ours: set[int] = {id(self.names)}
        """Addresses of what exists only because we look."""

    def run(self, tree: Any) -> Iterator[Any]:
        """Yield the value of each statement that has one.

        Raises:
            Refused: it may not be asked.
        """
        for statement in tree.body:
            value = self._statement(statement)
            if value is not None:
                self.names["_"] = value
                yield value

    def _statement(self, node: Any) -> Any:
        kind = type(node).__name__
        if kind == "Expr":
            return self._value(node.value)
        if kind == "Assign" and len(node.targets) == 1:
            target = node.targets[0]
            if type(target).__name__ == "Name" and target.id not in ROOTS:
                self.names[allowed_name(target.id)] = self._value(node.value)
                return None
        raise Refused(f"{words(kind)} is Python, and this is not")

    def _value(self, node: Any) -> Any:
        kind = type(node).__name__
        method = getattr(self, f"_{kind.lower()}", None)
        if method is None:
            raise Refused(f"{words(kind)} is Python, and this is not")
        return method(node)

    def _constant(self, node: Any) -> Any:
        return node.value

    def _name(self, node: Any) -> Any:
        if node.id in self.names:
            return self.names[node.id]
        if node.id in ("h", "hp", "objgraph"):
            return self._tool(node.id)
        raise Refused(f"there is no {node.id!r} here; there are h, hp and objgraph")

    def _attribute(self, node: Any) -> Any:
        owner = self._value(node.value)
        return self._get(owner, allowed_name(node.attr))

    def _get(self, owner: Any, name: str) -> Any:
        if self.is_tool("objgraph", owner):
            return getattr(owner, one_of(OBJGRAPH, name, "objgraph"))
        if self.is_tool("hp", owner):
            return getattr(owner, one_of(SESSION, name, "hp"))
        if is_heapy(owner):
            return getattr(owner, one_of(HEAPY, name, "heapy"))
        return held_attribute(owner, name)

    def is_tool(self, name: str, value: Any) -> bool:
        """Whether a value is that module or session."""
        kind = type(value)
        if name == "objgraph":
            return kind is ModuleType and value is self._tool(name)
        return is_heapy(value) and value is self._tool(name)

    def _subscript(self, node: Any) -> Any:
        owner, index = self._value(node.value), self._value(node.slice)
        if is_heapy(owner):
            if type(index) is not int and not is_range(index):
                raise Refused("heapy's sets are indexed by numbers")
            return owner[index]
        return held_item(owner, index)

    def _index(self, node: Any) -> Any:
        return self._value(node.value)

    def _slice(self, node: Any) -> slice:
        parts = (node.lower, node.upper, node.step)
        return slice(*(None if part is None else self._value(part) for part in parts))

    def _tuple(self, node: Any) -> tuple[Any, ...]:
        return self._own(tuple(self._items(node.elts)))

    def _list(self, node: Any) -> list[Any]:
        return self._own(self._items(node.elts))

    def _items(self, nodes: Iterable[Any]) -> list[Any]:
        items: list[Any] = []
        for node in nodes:
            if type(node).__name__ != "Starred":
                items.append(self._value(node))
                continue
            more = self._value(node.value)
            if type(more) not in (list, tuple) or len(more) > MOST_ARGUMENTS:
                raise Refused(f"* takes a list of up to {MOST_ARGUMENTS} items")
            items.extend(more)
        return items

    def _binop(self, node: Any) -> Any:
        return self._operate(node.op, self._value(node.left), self._value(node.right))

    def _unaryop(self, node: Any) -> Any:
        value = self._value(node.operand)
        name = type(node.op).__name__
        if not (is_heapy(value) or type(value) in PLAIN) or name not in OPERATORS:
            raise Refused("operators are for numbers and for heapy's sets")
        return OPERATORS[name](value)

    def _compare(self, node: Any) -> Any:
        if len(node.ops) != 1:
            raise Refused("one comparison at a time")
        return self._operate(
            node.ops[0], self._value(node.left), self._value(node.comparators[0])
        )

    def _operate(self, sign: Any, left: Any, right: Any) -> Any:
        function = OPERATORS.get(type(sign).__name__)
        both = (left, right)
        plain = all(type(each) in PLAIN for each in both)
        if function is None or not (plain or all(map(is_heapy, both))):
            raise Refused("operators are for numbers, texts, and heapy's sets")
        return function(left, right)

    def _call(self, node: Any) -> Any:
        target, arguments = node.func, tuple(self._items(node.args))
        self._own(arguments)
        named = {
            one_of(KEYWORDS, str(each.arg), "a call"): self._value(each.value)
            for each in node.keywords
        }
        if type(target).__name__ == "Name" and target.id == "len" and not named:
            return length(*arguments)
        if type(target).__name__ != "Attribute":
            raise Refused("only functions of hp, objgraph and heapy's sets are called")
        owner, name = self._value(target.value), allowed_name(target.attr)
        if self.is_tool("objgraph", owner):
            check_for_objgraph(owner, name, arguments, named)
        elif is_heapy(owner):
            check_for_heapy(name, (*arguments, *named.values()))
        else:
            raise Refused(f"no code of the worker is run here, so not {name}() either")
        result = self._get(owner, name)(*arguments, **named)
        return self._own(result) if type(result) in (list, dict) else result

    def _own(self, value: V) -> V:
        """Note that a container is ours, for it would be among the referrers."""
        self.ours.add(id(value))
        return value


def is_heapy(value: Any) -> bool:
    """Whether a value is an object of guppy's own."""
    module = showing.TYPE_MODULE.__get__(type(value))
    return type(module) is str and module.startswith("guppy.")


def allowed_name(name: str) -> str:
    """Return a name that may be said; raise Refused for others."""
    if name.startswith("__"):
        raise Refused(f"{name} is how Python works inside, which is not asked here")
    if showing.is_secret(name):
        raise Refused(f"what is called {name!r} is not shown under scope values")
    return name


def one_of(table: frozenset[str], name: str, what: str) -> str:
    """Return a name that is in a table; raise Refused for others."""
    if name not in table:
        raise Refused(f"{what} has no {name!r} here")
    return name


def words(kind: str) -> str:
    """Return what a kind of syntax is called."""
    return {
        "Import": "import",
        "ImportFrom": "import",
        "Lambda": "lambda",
        "FunctionDef": "def",
        "ListComp": "a comprehension",
        "GeneratorExp": "a comprehension",
        "JoinedStr": "an f-string",
    }.get(kind, f"this ({kind})")


def held_attribute(owner: Any, name: str) -> Any:
    """Return what an object's dict or slot holds, or its class does; run nothing."""
    from inspect import getattr_static  # noqa: PLC0415 -- in the copy only

    try:
        found = getattr_static(owner, name)
    except AttributeError:
        raise Refused(f"{showing.brief(owner)} holds no {name!r}") from None
    if type(found) is MemberDescriptorType:
        return found.__get__(owner, type(owner))
    return found


def held_item(owner: Any, index: Any) -> Any:
    """Return an item of a builtin container, or of an heir of one; run nothing."""
    kind = type(owner)
    if issubclass(kind, dict):
        return held_value(owner, index)
    if type(index) is not int and not is_range(index):
        raise Refused("an index is a number")
    for base in SEQUENCES:
        if issubclass(kind, base):
            if base is deque and type(index) is slice:
                raise Refused("a deque has no slices")
            if showing.is_secret_pair(owner) and index not in (0, -2):
                raise Refused("what has such a name is not shown under scope values")
            return base.__getitem__(owner, index)
    raise Refused(f"{showing.brief(owner)} is no container of Python's own")


def held_value(owner: dict[Any, Any], key: Any) -> Any:
    """Return what a dict holds under a key, looked for without the dict's own way.

    That would ask the worker's keys of the same hash whether they are equal, and a
    missing one may be made: the copy is to be read, not changed.
    """
    if type(key) not in PLAIN:
        raise Refused("a key is a number or a text")
    if showing.is_secret(key):
        raise Refused(f"what is called {key!r} is not shown under scope values")
    kind: Any = type(key)
    for found, value in dict.items(owner):
        if type(found) in PLAIN:
            is_it = found == key
        else:
            is_it = issubclass(type(found), kind) and kind.__eq__(found, key) is True
        if is_it:
            return value
    raise Refused(f"{showing.brief(owner)} has no key {key!r}")


def length(value: Any = None) -> int:
    """Return how long a container is."""
    if is_heapy(value):
        return len(value)
    for base in (*SEQUENCES, dict, set, frozenset):
        if issubclass(type(value), base):
            return int(base.__len__(value))
    raise Refused(f"{showing.brief(value)} is no container of Python's own")


def is_range(value: Any) -> bool:
    """Whether a value is a slice by numbers."""
    if type(value) is not slice:
        return False
    return all(
        type(each) in (int, type(None))
        for each in (value.start, value.stop, value.step)
    )


def check_for_objgraph(
    objgraph: Any, name: str, arguments: tuple[Any, ...], named: Mapping[str, Any]
) -> None:
    """Refuse what objgraph would call, and objects where it wants none."""
    looks = name in LOOKS_AT
    for place, value in [*enumerate(arguments), *named.items()]:
        is_predicate = name.startswith("find_") and place in (1, "predicate")
        if is_predicate and value is not objgraph.is_proper_module:
            raise Refused(f"{name}() looks for objgraph.is_proper_module here")
        is_object = looks and (place in (0, *NAMES_OBJECTS) or name == "show_chain")
        is_list = type(value) in (list, tuple)
        if is_list and place != "objects" and TAKES_OBJECTS.get(name) != place:
            # It is made a set of, or searched: that would compare what is in it.
            is_list = all(type(each) in PLAIN for each in value)
        if not (is_predicate or is_object or is_list or type(value) in PLAIN):
            raise Refused(f"{name}() takes numbers, texts and lists of them there")
    if name.startswith("find_") and len(arguments) + len(named) < 2:
        raise Refused(f"{name}(x, objgraph.is_proper_module)")


def check_for_heapy(name: str, arguments: Iterable[Any]) -> None:
    """Refuse what heapy would call or evaluate: texts above all."""
    one_of(CALLED, name, "a call of heapy")
    for each in arguments:
        if name == "by" and type(each) is str:
            for word in each.split("&"):
                one_of(RELATIONS, word, "by()")
        elif name == "Type" and not issubclass(type(each), type):
            raise Refused("Type() takes a class: h.byid[0].theone")
        elif not (
            name in ("iso", "Type", "Class")
            or is_heapy(each)
            or type(each) in (bool, int, type(None))
        ):
            raise Refused(f"{name}() takes numbers and heapy's sets here")
        if name == "Class" and not issubclass(type(each), type):
            raise Refused("Class() takes a class")
