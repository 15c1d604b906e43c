"""Who this process is, in words that may be shown to every client."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """What does not change between two forks."""

    pid: int
    start_time: int
    instance: str
    hostname: str
    kind: str
    generation: int
    started: float


def current_directory() -> str | None:
    """Return the working directory, if it still exists and may be known."""
    try:
        return os.getcwd()
    except OSError:
        return None
