"""What stands for the engine's `Labels` and `Token` where it cannot be loaded.

The agent works without the engine (heap.py), but labels nothing.
"""

from __future__ import annotations

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

    end = end_here = rename = find_here = innermost_here = begin

    def here(self) -> int:
        """Not know."""
        return 0
