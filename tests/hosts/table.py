"""The matrix as a table: hosts in rows, CPythons in columns, reasons in words below."""

import os
import platform
import re
import subprocess
import textwrap
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import readme
from hosts.catalogue import Host

HERE = Path(__file__).parent
COMMAND = "make test-hosts RECORD=--record"
FAILED = "failed"
WIDTH = 100
CHECKS = (
    "agent in each",
    "ping under load",
    "marker found",
    "labels",
    "renewed",
    "burst",
    "burst without agent",
    "clean exit",
    "no socket left",
)
MEANING = (
    "an agent in every process, whichever way it was started, that knows its role; an "
    "answer from each under load; a snapshot that holds every planted object, on a "
    "path that names the task and its local; each running task by kind, name and id; "
    "the same after reload, recycling and a killed child; no socket of short jobs; "
    "the host's own exit code, nothing of ours on stderr; no socket after the end"
)

Results = dict[str, list[dict[str, Any]]]


def faults(cell: dict[str, Any]) -> list[str]:
    """Return what failed in a cell, each with its way and reason."""
    if "broken" in cell:
        return [str(cell["broken"])]
    return [
        f"{check} ({way}): {note}"
        for way, checks in cell.get("ways", {}).items()
        for check, (state, note) in checks.items()
        if state == FAILED
    ]


def has_failures(results: Results) -> bool:
    return any(faults(cell) for cells in results.values() for cell in cells)


def word(cell: dict[str, Any]) -> str:
    """Return what stands in the table."""
    if "missing" in cell:
        return "-"
    if faults(cell):
        failed = [
            check
            for checks in cell.get("ways", {}).values()
            for check, (state, _) in checks.items()
            if state == FAILED
        ]
        return "**" + (", ".join(dict.fromkeys(failed)) or "broken") + "**"
    return "yes"


def lines(results: Results, hosts: list[Host]) -> Iterator[str]:
    """Yield the table and, below it, what its cells rest on."""
    versions = list(results)
    rows = [["host", *versions]]
    by_name = {
        version: {cell["host"]: cell for cell in cells}
        for version, cells in results.items()
    }
    for host in hosts:
        cells = [by_name[version].get(host.name) for version in versions]
        rows.append([host.name, *(word(cell) if cell else "" for cell in cells)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    rows.insert(1, ["-" * width for width in widths])
    for row in rows:
        padded = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        yield f"| {' | '.join(padded)} |"
    yield ""
    yield from (item(f"{host.name}: {host.remark}") for host in hosts if host.remark)
    yield from reasons(by_name, commit_of(results))


def reasons(
    by_name: dict[str, dict[str, dict[str, Any]]], commit: str
) -> Iterator[str]:
    """Yield why a cell is empty or broken, or not of this commit; each reason once."""
    told: dict[str, list[str]] = {}
    for version, cells in by_name.items():
        for name, cell in cells.items():
            for reason in [cell["missing"]] if "missing" in cell else faults(cell):
                told.setdefault(reason, []).append(f"{name} on {version}")
            if cell["commit"] != commit or "at_first" in cell:
                failed = "; ".join(cell.get("at_first", ()))
                at_first = f"; at first {failed}" if failed else ""
                again = f"run again, commit {cell['commit']}{at_first}"
                told.setdefault(again, []).append(f"{name} on {version}")
    for reason, places in told.items():
        where = ", ".join(places) if len(places) < 4 else f"{len(places)} cells"
        yield item(f"{where}: {reason}")


def item(text: str) -> str:
    """Return an item of a list, broken as the README's lines are."""
    return textwrap.fill(
        f"- {text}", WIDTH, subsequent_indent="  ", break_on_hyphens=False
    )


def figures(results: Results) -> Iterator[str]:
    """Yield what the checks measured, cell by cell."""
    yield "| CPython | host | " + " | ".join(CHECKS) + " |"
    yield "| --- " * (len(CHECKS) + 2) + "|"
    for version, cells in results.items():
        for cell in cells:
            checks = cell.get("ways", {}).get("run", {})
            notes = (checks.get(check, ("", ""))[1] for check in CHECKS)
            yield f"| {version} | {cell['host']} | " + " | ".join(notes) + " |"


def versions(results: Results) -> str:
    """Return the versions of the hosts, each once."""
    found: dict[str, set[str]] = {}
    for cells in results.values():
        for cell in cells:
            for name, version in cell.get("versions", {}).items():
                found.setdefault(name, set()).add(version)
    each = (f"{name} {'/'.join(sorted(found[name]))}" for name in sorted(found))
    return ", ".join(each)


def block(results: Results, hosts: list[Host]) -> str:
    """Return what the README shows."""
    kernel = re.split(r"[-+]", platform.release())[0]
    return "\n".join(
        [
            f"`{COMMAND}`",
            "",
            item(
                f"{date.today().isoformat()}, commit {commit_of(results)}, "
                f"Linux {kernel}, {os.cpu_count()} cores"
            ),
            item(versions(results)),
            item(f"yes: {MEANING}"),
            "",
            *lines(results, hosts),
        ]
    )


def show(results: Results, hosts: list[Host]) -> None:
    print("\n".join(lines(results, hosts)))


def record(results: Results, hosts: list[Host]) -> None:
    """Write results.md, and the table between the marks in the README."""
    text = block(results, hosts)
    measured = "\n".join(figures(results))
    (HERE / "results.md").write_text(
        f"# The last recorded run\n\n{text}\n\n## What was measured\n\n{measured}\n",
        encoding="utf-8",
    )
    readme.put("hosts", text)


def commit_of(results: Results) -> str:
    """Return the commit that most cells were run at."""
    each = Counter(cell["commit"] for cells in results.values() for cell in cells)
    return str(each.most_common(1)[0][0])


def commit() -> str:
    """Return the short name of what is checked out; a `+` if it was changed."""

    def git(*words: str) -> str:
        asked = ["git", "-C", str(HERE), *words]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+" if changed else "")
