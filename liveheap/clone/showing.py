"""Values as text, without a line of the worker's code: no `__repr__` of a class runs.

In a copy such a method would find the worker's locks held and its connections closed.
Under scope values texts are cut, and what a name like `password` stands for is hidden.
"""

from __future__ import annotations

import re
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

LONGEST = 64
MOST_ITEMS, MOST_INSIDE = 10, 3
DEEPEST = 2
WORDS = "pass|secret|token|key|auth|cookie|session|cred"
SECRET: Any = re.compile(WORDS, re.IGNORECASE)
SECRET_BYTES: Any = re.compile(WORDS.encode(), re.IGNORECASE)
HIDDEN = "<hidden>"
NUMBERS = (bool, int, float, complex, type(None), type(...))
MODULE_DICT: Any = vars(ModuleType)["__dict__"]
TYPE_MODULE: Any = vars(type)["__module__"]
TYPE_NAME: Any = vars(type)["__qualname__"]
BRACKETS: Any = {list: "[]", tuple: "()", set: "{}", frozenset: "{}"}


def is_secret(name: object) -> bool:
    """Whether what has this name is not shown under scope values."""
    for base, pattern in ((str, SECRET), (bytes, SECRET_BYTES)):
        if issubclass(type(name), base):
            return pattern.search(name) is not None
    return False


def is_secret_pair(value: Any) -> bool:
    """Whether it is such a name and what has it, as in a list of headers.

    A name and a number may be a type's and how many there are.
    """
    for base in (tuple, list):
        if issubclass(type(value), base) and base.__len__(value) == 2:
            name, held = base.__getitem__(value, 0), base.__getitem__(value, 1)
            return is_secret(name) and type(held) not in NUMBERS
    return False


def label(value: Any) -> str:
    """Return what stands below a type's name in a picture."""
    kind = type(value)
    if kind in BRACKETS or kind is dict:
        return f"{len(value)} items"
    if kind in (FunctionType, BuiltinFunctionType):
        return str(value.__name__)[:LONGEST]
    if issubclass(kind, ModuleType):
        return brief(value)[len("<module ") : -1]
    if issubclass(kind, type):
        return full_name(value)
    if kind in NUMBERS or kind in (str, bytes, bytearray):
        return brief(value)
    return f"at {id(value):#x}"


def brief(value: Any, depth: int = DEEPEST) -> str:
    """Return a value as text."""
    kind = type(value)
    if kind in NUMBERS:
        text = repr(value) if kind is not int else whole(value)
    elif kind in (str, bytes, bytearray):
        text = repr(value[:LONGEST]) + ("..." if len(value) > LONGEST else "")
    elif kind in BRACKETS or kind is dict:
        text = container(value, depth)
    elif issubclass(kind, type):
        text = f"<class {full_name(value)}>"
    elif kind in (FunctionType, BuiltinFunctionType):
        text = f"<function {value.__name__}>"
    elif issubclass(kind, ModuleType):
        name = MODULE_DICT.__get__(value).get("__name__")
        text = f"<module {name if type(name) is str else '?'}>"
    else:
        text = f"<{full_name(kind)} object at {id(value):#x}>"
    return text


def whole(value: int) -> str:
    """Return a whole number; of a very long one only its length."""
    bits = value.bit_length()
    return str(value) if bits < 1000 else f"<int of {bits} bits>"


def full_name(kind: type) -> str:
    """Return a class's name with its module."""
    module = TYPE_MODULE.__get__(kind)
    name = TYPE_NAME.__get__(kind)
    return f"{module}.{name}" if type(module) is str and module != "builtins" else name


def container(value: Any, depth: int) -> str:
    """Return a container of exactly a builtin type: its first items, and how many."""
    left, right = BRACKETS.get(type(value), "{}")
    shown: list[str] = []
    if depth == 0:
        return f"{left}{len(value)} items{right}" if value else left + right
    if is_secret_pair(value):
        return f"{left}{brief(value[0], depth - 1)}, {HIDDEN}{right}"
    is_dict = type(value) is dict
    for item in value.items() if is_dict else value:
        if len(shown) == (MOST_ITEMS if depth == DEEPEST else MOST_INSIDE):
            shown.append(f"... {len(value)} in all")
            break
        shown.append(pair(item, depth) if is_dict else brief(item, depth - 1))
    tail = "," if type(value) is tuple and len(value) == 1 else ""
    return f"{left}{', '.join(shown)}{tail}{right}"


def pair(item: tuple[Any, Any], depth: int) -> str:
    """Return a dict's item."""
    key, value = item
    text = HIDDEN if is_secret(key) else brief(value, depth - 1)
    return f"{brief(key, depth - 1)}: {text}"
