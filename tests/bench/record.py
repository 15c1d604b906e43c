"""What was measured last of each part, in results.md; what has a target, in the README.

A whole run takes a quarter of an hour of a quiet machine, and a part that was mended
since deserves a new figure without it. So each part stands in a section of its own,
with the commit and the machine's load of its own run; a run of some parts replaces
those.
"""

import sys
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import readme
from table import COLUMNS, Row, aligned

COMMAND = "python tests/bench/run.py --record"
WIDTH = 96
TARGET = COLUMNS.index("target")


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the benchmark: when, where and under which load; its rows' cells."""

    circumstances: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, circumstances: Iterable[str], rows: Iterable[Row]) -> "Part":
        return cls(tuple(circumstances), tuple(row.cells() for row in rows))


def read(results: Path) -> dict[str, Part]:
    """Return the parts of a file that `write` has written, in its order."""
    if not results.exists():
        return {}
    _, *sections = results.read_text(encoding="utf-8").split("\n## ")
    return dict(map(_parsed, sections))


def _parsed(section: str) -> tuple[str, Part]:
    name, *lines = section.splitlines()
    said = tuple(line for line in lines if line.startswith("- "))
    cells = [
        tuple(cell.strip() for cell in line.strip("|").split(" | "))
        for line in lines
        if line.startswith("| ")
    ]
    return name, Part(said, tuple(cells[2:]))


def write(results: Path, parts: Mapping[str, Part]) -> None:
    """Write parts with their circumstances."""
    text = f"# The last recorded run of each part\n\n`{COMMAND}`\n"
    for name, part in parts.items():
        said = "\n".join(part.circumstances)
        text += f"\n## {name}\n\n{said}\n\n{aligned(part.rows)}\n"
    results.write_text(text, encoding="utf-8")


def publish(parts: Mapping[str, Part], place: Path = readme.README) -> None:
    """Put the rows that have a target between the marks in the README."""
    rows = [row for part in parts.values() for row in part.rows if row[TARGET]]
    runs = defaultdict(list)
    for name, part in parts.items():
        runs[part.circumstances[0]].append(name)
    said = [
        textwrap.fill(
            f"{run}: {', '.join(names)}",
            WIDTH,
            subsequent_indent="  ",
            break_on_hyphens=False,
        )
        for run, names in runs.items()
    ]
    machine = next(iter(parts.values())).circumstances[1]
    block = "\n".join([f"`{COMMAND}`", "", *said, machine, "", aligned(rows)])
    readme.put("benchmark", block, place)
