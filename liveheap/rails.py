"""What clients may take of a worker at most: its owner's word, and safe without one.

Each is a setting of the agent, `LIVEHEAP_MAX_PAUSE` and so on, read once when it
starts. A client may ask for less and never gets more: what it says with `--max-pause`,
`--timeout-s` or `--force` counts below these. docs/limits.md has the table, with the
reason of each and the test that holds it.

What is not a setting has no form without a bound either: frames and messages
(protocol), rows of a table and names (commands), the child's memory and processor time
(the engine), the copy's life (clone).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, fields

LONGEST_LEASE_S = 3600.0


@dataclass(frozen=True, slots=True)
class Rails:
    """The limits of one worker. What a name says is said in the table below."""

    max_pause: float = 5000.0
    force: bool = True
    max_walk: float = 3600.0
    max_clone: float = 600.0
    heavy_per_minute: int = 60
    heavy_per_machine: int = 2
    gc_every: float = 10.0
    trim_every: float = 10.0
    max_sessions: int = 4
    max_idle: float = 900.0
    max_age: float = 10_800.0
    max_spools: int = 2
    spool_lease: float = 600.0
    max_output: int = 10_000_000


@dataclass(frozen=True, slots=True)
class Range:
    """What a setting may be, and in which unit it is told."""

    least: float
    most: float
    unit: str
    whole: bool = False

    def parse(self, text: str) -> float:
        """Read a number.

        Raises:
            ValueError: it is none, or out of range.
        """
        with suppress(ValueError):
            number = int(text) if self.whole else float(text)
            if self.least <= number <= self.most:  # nan is not
                return number
        whole = "a whole number, " if self.whole else ""
        unit = f" {self.unit}" if self.unit else ""
        raise ValueError(f"expected {whole}{self.least:g} to {self.most:g}{unit}")


# No setting takes a limit away: the upper ends are what a worker survives.
RANGES = {
    "max_pause": Range(1, 60_000, "ms"),
    "max_walk": Range(1, 3600, "s"),
    "max_clone": Range(1, 600, "s"),
    "heavy_per_minute": Range(1, 600, "", whole=True),
    "heavy_per_machine": Range(1, 64, "", whole=True),
    "gc_every": Range(0.01, 86_400, "s"),
    "trim_every": Range(0.01, 86_400, "s"),
    "max_sessions": Range(1, 64, "", whole=True),
    "max_idle": Range(1, 86_400, "s"),
    "max_age": Range(1, 86_400, "s"),
    "max_spools": Range(1, 16, "", whole=True),
    "spool_lease": Range(0, LONGEST_LEASE_S, "s"),
    "max_output": Range(1000, 1_000_000_000, "bytes", whole=True),
}


def told(rails: Rails) -> list[dict[str, object]]:
    """Return the limits as plain data: what `status` lists."""
    return [
        {
            "name": field.name,
            "value": getattr(rails, field.name),
            "unit": RANGES[field.name].unit if field.name in RANGES else "",
        }
        for field in fields(Rails)
    ]
