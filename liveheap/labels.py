"""`liveheap.task`: a label for what no framework's hook labels.

    with liveheap.task("import orders"):
        ...

    @liveheap.task("import orders")
    def import_orders(...): ...

A decorated function of any kind runs as if its body stood in the `with`: a coroutine
is labelled while it runs and waits, not while it is only made; a generator from its
first item to its end. Without an agent it is a call more, and nothing else.
"""

from __future__ import annotations

import builtins
import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from liveheap import tasks

KIND = "task"

Function = TypeVar("Function", bound=Callable[..., Any])


class task:
    """A label for what runs inside, or for each call of the decorated function.

    Args:
        name: what it is called in `status` and in retaining paths. Names are counted,
            and leave the worker as code does: no numbers and no data in them.
        id: which one of that name, if that matters.
    """

    __slots__ = ("_id", "_name", "_tokens")

    def __init__(self, name: str, id: str | None = None) -> None:  # noqa: A002 -- the field's name
        self._name, self._id = name, id
        self._tokens: dict[int, tasks.Token] = {}

    def __enter__(self) -> None:
        token = tasks.begin(KIND, self._name, self._id)
        if token is not None:
            self._tokens[builtins.id(token)] = token

    def __exit__(self, *_: object) -> None:
        if self._tokens:
            tasks.end(self._take_token())

    def __call__(self, function: Function) -> Function:
        """Return the function with the label around each of its calls."""
        wrapper: Any = wrapper_of(function, self._name, self._id)
        functools.update_wrapper(wrapper, function)
        return cast("Function", wrapper)

    def _take_token(self) -> tasks.Token | None:
        """Return what was begun last, here if one label is in use on many holders."""
        found = list(self._tokens.values())
        if len(found) > 1:
            here = tasks.REGISTRY.here()
            found = [token for token in found if token.key == here] or found
        return self._tokens.pop(builtins.id(found[-1]), None) if found else None


def wrapper_of(
    function: Callable[..., Any], name: str, task_id: str | None
) -> Callable[..., Any]:
    """Return a function of the same kind that has the label while it runs."""
    if inspect.iscoroutinefunction(function):

        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            with task(name, task_id):
                return await function(*args, **kwargs)

        return coroutine
    if inspect.isgeneratorfunction(function):

        def generator(*args: Any, **kwargs: Any) -> Any:
            with task(name, task_id):
                return (yield from function(*args, **kwargs))

        return generator
    if inspect.isasyncgenfunction(function):

        async def asyncgen(*args: Any, **kwargs: Any) -> Any:
            with task(name, task_id):
                inner = function(*args, **kwargs)
                try:
                    item = await inner.__anext__()
                    while True:
                        try:
                            sent = yield item
                        except Exception as exc:
                            item = await inner.athrow(exc)
                        else:
                            item = await inner.asend(sent)
                except StopAsyncIteration:
                    return
                finally:
                    await inner.aclose()

        return asyncgen

    def plain(*args: Any, **kwargs: Any) -> Any:
        with task(name, task_id):
            return function(*args, **kwargs)

    return plain
