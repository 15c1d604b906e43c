"""What is called after a fork, and can be taken away again.

The interpreter keeps a fork hook for ever. So what it gets from us, once per process
and when first needed, are two functions that know nothing but a list of functions each,
and that `forget` empties when an agent leaves: then two functions of one line stay,
which keep nothing of ours alive.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from types import FunctionType

Hook = Callable[[], None]


class Hooks:
    """The hooks of this process."""

    in_parent: list[Hook] = []  # noqa: RUF012 -- there is one of each
    in_child: list[Hook] = []  # noqa: RUF012 -- likewise
    registered = False


def in_parent(hook: Hook) -> None:
    """Have a function called after each fork in the parent, once if asked twice."""
    _add(Hooks.in_parent, hook)


def in_child(hook: Hook) -> None:
    """Have a function called in each forked child, once if asked for twice."""
    _add(Hooks.in_child, hook)


def forget() -> None:
    """Have nothing called any more."""
    Hooks.in_parent.clear()
    Hooks.in_child.clear()


def _add(hooks: list[Hook], hook: Hook) -> None:
    if not Hooks.registered:
        Hooks.registered = True
        os.register_at_fork(
            after_in_parent=_caller(Hooks.in_parent),
            after_in_child=_caller(Hooks.in_child),
        )
    if hook not in hooks:
        hooks.append(hook)


def _caller(hooks: list[Hook]) -> Hook:
    """Return a function that calls what is in a list, and has no other globals."""

    def call(hooks: list[Hook] = hooks) -> None:
        for hook in hooks:
            hook()

    return FunctionType(call.__code__, {}, "liveheap", (hooks,))
