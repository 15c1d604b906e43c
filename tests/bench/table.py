"""Rows of the benchmark, and the table that they become."""

import os
import platform
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

CODE = ":/", ":(exclude,top)*.md"
COLUMNS = ("figure", "target", "ours", "beside it", "ratio", "met")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `met` is None where no target was set."""

    figure: str
    ours: str
    target: str = ""
    beside: str = ""
    ratio: str = ""
    met: bool | None = None

    def cells(self) -> tuple[str, ...]:
        word = {True: "yes", False: "**no**", None: ""}[self.met]
        return (self.figure, self.target, self.ours, self.beside, self.ratio, word)


def markdown(rows: Iterable[Row]) -> str:
    """Return the rows as a table."""
    return aligned(row.cells() for row in rows)


def aligned(cells: Iterable[tuple[str, ...]]) -> str:
    """Return a table with its columns aligned, so that it reads in a terminal too."""
    lines = [COLUMNS, *cells]
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS))]
    rule = tuple("-" * width for width in widths)
    lines.insert(1, rule)
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True))
        + " |"
        for line in lines
    )


def circumstances(objects: int) -> Iterator[str]:
    """Say where and when, without the names of machines and paths."""
    one, five, fifteen = os.getloadavg()
    yield f"- {date.today().isoformat()}, commit {commit()}, {objects:,} objects"
    kernel = platform.release().partition("-")[0]
    yield (
        f"- {os.cpu_count()} cores, {memory_gb()} GB, Linux {kernel}, "
        f"{platform.python_implementation()} {platform.python_version()}"
    )
    yield f"- load average at the start: {one:.1f} {five:.1f} {fifteen:.1f}"


def commit() -> str:
    """Return the short name of what is checked out; a `+` if it was changed.

    What is recorded changes records, which nothing that is measured reads.
    """
    here = Path(__file__).parent

    def git(*words: str) -> str:
        asked = ["git", "-C", str(here), *words]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", *CODE)
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+" if changed else "")


def memory_gb() -> int:
    pages: int = os.sysconf("SC_PHYS_PAGES")
    return round(pages * os.sysconf("SC_PAGE_SIZE") / (1 << 30))
