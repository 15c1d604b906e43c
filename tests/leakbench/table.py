"""leakbench.md: the rows, their sums, and what an eye has judged."""

import platform
import subprocess
from collections.abc import Sequence
from datetime import date

from environments import ROOT
from judge import Row

TOP = {"no false accusation": 2, "verdict": 2}
HEADING = (
    "case",
    "variant",
    "type",
    "holder",
    "task",
    "verdict",
    "kind told",
    "cost to the worker",
)


def page(rows: Sequence[Row], command: str, *, kept: bool = False) -> str:
    """Return the whole page; `kept` rounds may be an earlier commit's."""
    rounds = "; the rounds were taken before and analysed again" if kept else ""
    lines = [
        "# liveheap on real leaks",
        "",
        f"`LEAKBENCH=DIR make leakbench`; every hunt was `{command}`, "
        "or `--interval 2` for the extra cases.",
        "",
        f"- {date.today().isoformat()}, {commits(rows)}{rounds}",
        f"- {platform.system()} {platform.release().split('-')[0]}; "
        "the agent started by liveheap.pth, no other hook in the target; late: "
        "nothing prepared in the target, the agent brought in by `liveheap inject`",
        "- type and holder: points of the bench's score.py (extra cases: by "
        "answers.json); task: is the task named that does it, by its label; verdict: "
        "is the kind told the right one; a control and an innocent twin must not be "
        "accused",
        "",
        *sums(rows, "released"),
        *sums(rows, "extra"),
        "",
        *markdown(rows),
        "",
        "## What was told",
        "",
        *(f"- {row.case} ({row.variant}): {row.sentence or row.kind}" for row in rows),
        "",
        "## Judged by eye",
        "",
    ]
    eyes = [text for row in rows for text in row.eyes]
    lines.extend(f"- {text}" for text in eyes or ["nothing needed one"])
    return "\n".join(lines) + "\n"


def sums(every: Sequence[Row], origin: str) -> list[str]:
    """Return the totals of one origin in a line."""
    rows = [row for row in every if row.origin == origin]
    parts = []
    for item in ("type", "holder", "task"):
        got = [row.points[item] for row in rows if item in row.points]
        if got:
            share = 100 * sum(got) / len(got)
            parts.append(f"{item} {sum(got):g} of {len(got)} ({share:.0f} %)")
    for name, variants in (
        ("right verdicts", ("leak", "late")),
        ("innocents not accused", ("control", "twin")),
    ):
        chosen = [row for row in rows if row.variant in variants]
        if chosen:
            right = sum(row.verdict for row in chosen)
            parts.append(f"{name} {right} of {len(chosen)}")
    return [f"- {origin}: {', '.join(parts)}"] if parts else []


def markdown(rows: Sequence[Row]) -> list[str]:
    """Return the table."""
    lines = [_line(HEADING), _line(["---"] * len(HEADING))]
    for row in rows:
        points = [_points(row, item) for item in ("type", "holder", "task")]
        cells = [row.case, row.variant, *points]
        verdict = "right" if row.verdict else "**wrong**"
        if "verdict" in row.points:
            verdict += f" ({_points(row, 'no false accusation')} + "
            verdict += f"{_points(row, 'verdict')})"
        lines.append(_line([*cells, verdict, row.kind, row.cost]))
    return lines


def commits(rows: Sequence[Row]) -> str:
    """Return the commit of most rows, and which cases others were run at."""
    cases: dict[str, list[str]] = {}
    for row in rows:
        cases.setdefault(row.commit or commit(), []).append(row.case)
    first, *others = sorted(cases, key=lambda name: -len(cases[name])) or [commit()]
    again = [
        f"; run again at {name}: {', '.join(dict.fromkeys(cases[name]))}"
        for name in others
    ]
    return f"commit {first}{''.join(again)}"


def commit() -> str:
    """Return the commit measured, with a mark if the tree has changes."""
    git = ["git", "-C", str(ROOT)]
    name = _stdout([*git, "rev-parse", "--short", "HEAD"])
    changed = _stdout([*git, "status", "--porcelain", "--untracked-files=no"])
    return f"{name}{' with changes' if changed else ''}"


def _points(row: Row, item: str) -> str:
    if item not in row.points:
        return ""
    return f"{row.points[item]:g}/{TOP.get(item, 1)}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _stdout(words: list[str]) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip()
