"""Functions of a framework's class, wrapped in a label, and unwrapped again.

For frameworks that have no signal to begin and end with. Only functions that let no
exception of the host's tasks through are wrapped, so that no traceback of the host's
shows a line of ours.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable
from types import FunctionType, ModuleType
from typing import Any

from liveheap import tasks

Undo = Callable[[], None]
Begin = Callable[..., "tasks.Token | None"]


def classes_with(module: ModuleType, name: str) -> list[type]:
    """Return the classes of this module that define a method of this name.

    Each once: a class may have an old name beside its own.
    """
    kinds = {id(each): each for each in vars(module).values() if isinstance(each, type)}
    return [
        kind
        for kind in kinds.values()
        if kind.__module__ == module.__name__ and name in kind.__dict__
    ]


def label(owner: type, name: str, begin: Begin) -> Undo:
    """Label each call of a method as `begin(*args)` says; return how to undo that."""

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            token = begun(begin, args)
            try:
                return original(*args, **kwargs)
            finally:
                tasks.end(token)

        return wrapper

    return replace(owner, name, make)


def label_coroutine(owner: type, name: str, begin: Begin) -> Undo:
    """Label each run of a method that is a coroutine function."""

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            token = begun(begin, args)
            try:
                return await original(*args, **kwargs)
            finally:
                tasks.end(token)

        return wrapper

    return replace(owner, name, make)


def begun(begin: Begin, args: tuple[Any, ...]) -> tasks.Token | None:
    """Begin; a framework that is not as we know it goes without a label."""
    try:
        return begin(*args)
    except tasks.OUR_ERRORS:
        return None


def hear(owner: type, name: str, tell: Callable[..., object]) -> Undo:
    """Have `tell(result, *args)` told what each call of a method returns."""

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            try:  # noqa: SIM105 -- routes are tried by the hundred
                tell(result, *args)
            except tasks.OUR_ERRORS:
                pass
            return result

        return wrapper

    return replace(owner, name, make)


def hear_set(owner: type, name: str, tell: Callable[..., object]) -> Undo:
    """Have `tell(value)` told what an attribute is set to that only instances have.

    No call of the host's goes through this, and the instances stay as they are.
    """
    if hasattr(owner, name):
        raise AttributeError(f"{owner} has a {name} of its own")

    def get(instance: Any) -> Any:
        try:
            return vars(instance)[name]
        except KeyError:
            raise AttributeError(name) from None

    def put(instance: Any, value: Any) -> None:
        vars(instance)[name] = value
        with contextlib.suppress(*tasks.OUR_ERRORS):
            tell(value)

    def remove(instance: Any) -> None:
        get(instance)
        del vars(instance)[name]

    ours = property(get, put, remove)
    setattr(owner, name, ours)

    def undo() -> None:
        if vars(owner).get(name) is ours:
            delattr(owner, name)

    return undo


def replace(
    owner: type | ModuleType,
    name: str,
    make: Callable[[Callable[..., Any]], Callable[..., Any]],
) -> Undo:
    """Put `make(original)` into a class or module; the undo spares what others did."""
    original = getattr(owner, name)
    inherited = name not in owner.__dict__
    wrapper = make(original)
    if wrapper is original:
        return lambda: None
    if isinstance(wrapper, FunctionType):
        functools.update_wrapper(wrapper, original)
    setattr(owner, name, wrapper)

    def undo() -> None:
        if owner.__dict__.get(name) is not wrapper:
            return
        if inherited:
            delattr(owner, name)
        else:
            setattr(owner, name, original)

    return undo


def undo_all(undos: Iterable[Undo]) -> Undo:
    """Return one undo for several, the last first.

    They are made one by one: where one cannot be, those before it are undone.
    """
    made: list[Undo] = []

    def undo() -> None:
        while made:
            made.pop()()

    try:
        for each in undos:
            made.append(each)
    except BaseException:
        undo()
        raise
    return undo
