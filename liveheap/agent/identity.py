"""Who this process is, in words that may be shown to every client."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """What does not change between two forks."""

    pid: int
    start_time: int
    instance: str
    hostname: str
    program: str
    kind: str
    generation: int
    started: float
