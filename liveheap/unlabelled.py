"""What stands for the engine's part in labels where it cannot be loaded.

The agent works without the engine (heap.py), but labels nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Token:
    """There is none."""


class Labels:
    """Takes no label."""

    is_on = False

    def __init__(self, **_: object) -> None:
        self._innermost: dict[int, Any] = {}
        self._done: dict[str, int] = {}
        self._overlapped: dict[str, int] = {}

    def begin(self, *_: object) -> None:
        """Label nothing."""

    end = end_here = rename = find_here = innermost_here = _forget_sources = begin

    def here(self) -> int:
        """Not know."""
        return 0


def send_that_begins(send: Callable[..., Any], *_: object) -> Callable[..., Any]:
    """Leave a signal's `send` as it is."""
    return send


send_that_ends = send_that_begins
