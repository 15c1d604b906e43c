"""What an agent registers with the interpreter: to be called at exit, and after a fork.

A fork hook cannot be withdrawn. So what is registered knows nothing but a list with one
function in it, which is emptied when the agent leaves: two functions of a line stay in
the interpreter then, and keep nothing of the agent alive.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from types import FunctionType

Hook = Callable[[], None]


class Hooks:
    """The hooks of one process."""

    def __init__(self, at_exit: Hook, in_parent: Hook, in_child: Hook) -> None:
        self._at_exit = at_exit
        self._in_parent, self._in_child = [in_parent], [in_child]
        atexit.register(at_exit)
        os.register_at_fork(
            after_in_parent=caller(self._in_parent),
            after_in_child=caller(self._in_child),
        )

    def remove(self) -> None:
        """Take them away, but for two functions that do nothing."""
        atexit.unregister(self._at_exit)
        self._in_parent.clear()
        self._in_child.clear()


def caller(hooks: list[Hook]) -> Hook:
    """Return a function that calls what is in a list, and has no other globals."""

    def call(hooks: list[Hook] = hooks) -> None:
        for hook in hooks:
            hook()

    return FunctionType(call.__code__, {}, "liveheap", (hooks,))
