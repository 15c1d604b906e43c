"""What a name may become, without running anything of the worker's.

`dir()` calls `__dir__`, and `getattr` runs properties and `__getattr__`. Here both are
answered from the dicts of the instance, its type and that type's bases, read past every
override; a descriptor is followed only if it is a slot. What is made up on the fly is
therefore not completed.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterator, Mapping
from keyword import kwlist
from types import MemberDescriptorType, ModuleType
from typing import Any

MOST = 500
COMMANDS = ("%main",)
PATH = re.compile(r"(?:[^\W\d]\w*\.)*\w*\Z")
MISSING = object()
MRO: Any = type.__dict__["__mro__"]
TYPE_DICT: Any = type.__dict__["__dict__"]
MODULE_DICT: Any = vars(ModuleType)["__dict__"]


def candidates(text: str, namespace: Mapping[str, Any]) -> list[str]:
    """Return what the last name of a text may become, in order."""
    found = PATH.search(text)
    path = found.group() if found else ""
    before = text[: len(text) - len(path)]
    if before.endswith((")", "]", "}", '"', "'", ".")):
        return []
    *owners, typed = path.split(".")
    if not owners:
        names: Iterator[str] = _top_level(namespace)
    else:
        owner = _resolve(owners, namespace)
        if owner is MISSING:
            return []
        names = _attributes(owner)
    if text.strip() and before.strip() == "%" and not owners:
        return [name[1:] for name in COMMANDS if name[1:].startswith(typed)]
    fitting = {name for name in names if name.startswith(typed)}
    if not typed.startswith("_"):
        fitting = {name for name in fitting if not name.startswith("_")} or fitting
    return sorted(fitting)[:MOST]


def _top_level(namespace: Mapping[str, Any]) -> Iterator[str]:
    for name in (*namespace, *vars(builtins), *kwlist):
        if type(name) is str and name.isidentifier():
            yield name


def _resolve(path: list[str], namespace: Mapping[str, Any]) -> Any:
    """Return what a dotted path means, if it can be said without running code."""
    first, *rest = path
    value = namespace.get(first, vars(builtins).get(first, MISSING))
    for name in rest:
        if value is MISSING:
            return MISSING
        value = _attribute(value, name)
    return value


def _attribute(value: Any, name: str) -> Any:
    for there in _dicts(value):
        if name not in there:
            continue
        found = there[name]
        if type(found) is MemberDescriptorType:
            try:
                return found.__get__(value)
            except (AttributeError, TypeError):
                return MISSING
        is_computed = any("__get__" in each for each in _type_dicts(type(found)))
        is_function = type(found).__name__ in ("function", "builtin_function_or_method")
        return MISSING if is_computed and not is_function else found
    return MISSING


def _attributes(value: Any) -> Iterator[str]:
    for there in _dicts(value):
        for name in list(there):
            if type(name) is str and name.isidentifier():
                yield name


def _dicts(value: Any) -> Iterator[Mapping[Any, Any]]:
    """Yield the dicts in which attributes of a value stand."""
    kind = type(value)
    bases = MRO.__get__(kind)
    if type in bases:
        yield from _type_dicts(value)
    elif ModuleType in bases:
        yield MODULE_DICT.__get__(value)
    else:
        own = _instance_dict(value)
        if own is not None:
            yield own
    yield from _type_dicts(kind)


def _type_dicts(kind: type) -> Iterator[Mapping[Any, Any]]:
    for base in MRO.__get__(kind):
        yield TYPE_DICT.__get__(base)


def _instance_dict(value: Any) -> dict[Any, Any] | None:
    """Return an instance's own dict, whatever its class says of `__dict__`."""
    for there in _type_dicts(type(value)):
        slot: Any = there.get("__dict__")
        if type(slot).__name__ == "getset_descriptor":
            try:
                found = slot.__get__(value)
            except (AttributeError, TypeError):
                return None
            return found if type(found) is dict else None
    return None
