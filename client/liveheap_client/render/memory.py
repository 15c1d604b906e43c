"""Where memory goes, as a table with bars and the words below it."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from liveheap.protocol.results import Column
from liveheap_client.analysis.breakdown import PARTS
from liveheap_client.render.escape import visible
from liveheap_client.render.table import Look, table
from liveheap_client.render.units import human_bytes, human_count, signed

LEAST_SHARED = 0.005
_WIDTH = 80
_BAR = 24
_STEPS = " ▏▎▍▌▋▊▉"
_MOST_PORTS = 3

Report = Mapping[str, Any]


def lines(report: Report, *, look: Look) -> Iterator[str]:
    """Yield the table; then what it is made of, why it grew, the open files."""
    record, grown = report["memory"], report["growth"]
    width = min(look.width or _WIDTH, 120)
    yield look.strong(_head(record))
    yield ""
    yield from _parts(record, grown, look)
    for title, found in (("grew", report["causes"]), ("", report["remarks"])):
        for cause in found:
            yield ""
            text = f"{title}: {cause['sentence']}" if title else cause["sentence"]
            yield from _wrapped(f"{text}.", width)
            yield from _wrapped(f"try: {cause['remedy']}", width, 7, "  ")
    if grown is not None and not report["causes"]:
        yield ""
        yield from _wrapped(_nothing(grown), width)
    for doubt in report["doubts"]:
        yield ""
        yield from _wrapped(f"note: {doubt}.", width, 6)
    yield ""
    yield from _wrapped(descriptors(record), width, 6)


def _head(record: Report) -> str:
    parts = [f"RSS {human_bytes(record['rss'])} of {visible(record['program'])}"]
    parts.append(f"{human_bytes(record['exclusive'])} of it only here")
    if record["inherited"] >= LEAST_SHARED * record["rss"]:
        parts.append(f"{human_bytes(record['inherited'])} shared with parent or child")
    if record["swapped"]:
        parts.append(f"{human_bytes(record['swapped'])} more swapped out")
    return ", ".join(parts)


def _parts(
    record: Report, grown: Mapping[str, int] | None, look: Look
) -> Iterator[str]:
    """Yield a row for each part that there is, the largest first."""
    rss = max(record["rss"], 1)
    shown = [name for name in PARTS if record[name] or (grown and grown[name])]
    shown.sort(key=lambda name: -record[name])
    columns = [Column("part", "text"), Column("size", "bytes")]
    columns += [Column("growth", "text")] if grown else []
    columns += [Column("share", "percent"), Column("", "text")]
    rows = []
    for name in shown:
        row: list[object] = [PARTS[name], record[name]]
        if grown:
            row.append(signed(human_bytes(grown[name])) if grown[name] else "")
        row += [100 * record[name] / rss, bar(record[name] / rss)]
        rows.append(row)
    yield from table(columns, rows, look=look)


def bar(share: float) -> str:
    """Return a bar of a share, in eighths of a character."""
    eighths = round(share * _BAR * 8)
    return ("█" * (eighths // 8) + _STEPS[eighths % 8]).rstrip()


def _nothing(grown: Mapping[str, int]) -> str:
    return (
        f"RSS changed by {signed(human_bytes(grown['rss']))}: no part of it grew by as "
        "much as a MiB."
    )


def descriptors(record: Report) -> str:
    """Return the open files by kind, the most first."""
    kinds = sorted(record["descriptor_kinds"], key=lambda pair: -pair[1])
    told = ", ".join(f"{human_count(n)} {visible(kind)}" for kind, n in kinds)
    least = "at least " if record["descriptors_cut_short"] else ""
    text = f"open files: {least}{human_count(record['descriptors'])}"
    text += f" ({told})" if told else ""
    ports = _ports(record["remote_ports"], "to port")
    return f"{text}{ports}"


def _ports(pairs: Sequence[Sequence[int]], words: str) -> str:
    told = [f"{human_count(n)} {words} {port}" for port, n in pairs[:_MOST_PORTS]]
    return f"; tcp: {', '.join(told)}" if told else ""


def _wrapped(text: str, width: int, indent: int = 2, first: str = "") -> list[str]:
    return textwrap.wrap(
        visible(text, longest=1000),
        width - 1,
        initial_indent=first,
        subsequent_indent=" " * indent,
        break_on_hyphens=False,
    )
