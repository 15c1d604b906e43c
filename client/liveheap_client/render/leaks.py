"""One screen: the verdict, the first suspects, what was ruled out, what to type next.

Works on the report's JSON form. It is prose for a person, also in a pipe. Eighty
columns and twenty-four lines: suspects are shown as long as there is room, and what
does not fit is left to `--json` and to `report`.
"""

import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from liveheap_client.analysis.sentence import bytes_rate, filling_caches
from liveheap_client.render.escape import visible
from liveheap_client.render.table import Look, middle_cut
from liveheap_client.render.units import human_bytes, human_count

MOST_SUSPECTS = 4
HEIGHT = 24
_WIDTH = 80
_LONGEST = 600
_MOST_ROUNDS = 6
_MOST_CONTENTS = 5
_MOST_LINES_OF_ONE = 4
_INDENT = 12
_ATOM = re.compile(r"[^.\]]+[.\]]*|[.\]]+")

Report = Mapping[str, Any]
Suspect = Mapping[str, Any]


def lines(report: Report, *, look: Look) -> Iterator[str]:
    """Yield the screen."""
    width = min(look.width or _WIDTH, 120)
    yield from map(look.strong, _sentence(report["verdict"]["sentence"], width))
    said = f"verdict: {_said(report['verdict'])}; {_worker(report)}"
    yield from _wrapped(said, width, 9)
    for note in report["notes"]:
        yield from _wrapped(f"note: {note}", width, 6)
    bottom = list(_bottom(report, width))
    shown = _ranked(report)
    room = HEIGHT - 6 - len(bottom) - len(report["notes"])
    told = 0
    for suspect in shown[:MOST_SUSPECTS]:
        block = list(_suspect(told + 1, suspect, report["per"], look, width))
        if told and len(block) + 1 > room:
            break
        yield ""
        yield from block
        room -= len(block) + 1
        told += 1
    more = len(shown) + report["more_suspects"] - told
    if more > 0 and told:
        yield f"   ... and {more} more: --json"
    yield ""
    yield from bottom


def _sentence(text: str, width: int) -> Iterator[str]:
    """Yield the verdict's sentence; one that needs lines breaks before its rate."""
    start, comma, rate = text.partition(", +")
    if len(text) < width or len(start) + 1 >= width or not comma:
        yield from _wrapped(text, width, 0)
        return
    yield visible(f"{start},")
    yield from _wrapped(f"+{rate}", width, 0)


def _said(verdict: Mapping[str, Any]) -> str:
    return f"{verdict['kind']}, confidence {verdict['confidence']}"


def _worker(report: Report) -> str:
    """Return whose rounds they are, and how many."""
    rounds = report["rounds"]
    first = rounds[0]
    if len({one["program"] for one in rounds}) > 1:
        who = "several programs"
    else:
        who = first["program"] or "a process"
    if len({(one["hostname"], one["pid"]) for one in rounds}) > 1:
        who += ", several processes"
    else:
        who += f", pid {first['pid']}" if first["pid"] is not None else ""
        who += f" on {first['hostname']}" if first["hostname"] else ""
    return f"{len(rounds)} round{'s' if len(rounds) > 1 else ''} of {who}"


def _bottom(report: Report, width: int) -> Iterator[str]:
    for number, line in enumerate(report["ruled_out"]):
        yield from _wrapped(
            f"{'           ' if number else 'ruled out: '}{line}", width
        )
    # Whole, however long: it is there to be copied.
    yield f"next:      {visible(report['next'], longest=_LONGEST)}"


def _ranked(report: Report) -> list[Suspect]:
    """Return the suspects for the screen, the one of the verdict first."""
    first = report["verdict"]["suspect"]
    suspects = list(report["suspects"])
    if first is not None:
        suspects.insert(0, suspects.pop(first))
    elif report["verdict"]["kind"] in ("plateau", "nothing-grows"):
        return []
    small = filling_caches(report)  # told with what was ruled out
    return [suspect for suspect in suspects if suspect not in small]


def _suspect(
    place: int, suspect: Suspect, per: str, look: Look, width: int
) -> Iterator[str]:
    head, series = _head(place, suspect, per, width), _series(suspect)
    yield look.strong(head)
    if series not in head:
        yield from _told("counts", series, width)
    holder = suspect["holder"]
    if suspect["orphan"]:
        excess = suspect["excess_references"]
        yield from _told(
            "held by",
            f"nothing: no referrer, but {excess} in its reference count",
            width,
        )
    elif suspect["garbage"]:
        yield from _told(
            "held by", "nothing: cyclic garbage, the collector is off", width
        )
    elif holder:
        each = "each a " if "[*]" in holder else ""
        kind = f" ({each}{suspect['holder_type']})" if suspect["holder_type"] else ""
        yield from _told("held by", f"{holder}{kind}", width)
    if not holder or not suspect["path"].startswith(holder):
        yield from _told("path", suspect["path"], width)
    if suspect["code"]:
        yield from _told("code", suspect["code"], width)
    if suspect["waits_in"]:
        yield from _told("waits in", suspect["waits_in"], width)
    if suspect["task"]:
        yield from _told("task", f"{suspect['task']}: {suspect['task_why']}", width)
    contents = _contents(suspect)
    if contents:
        yield from _told("objects", contents, width)
    if suspect["n_echoes"]:
        others = suspect["n_echoes"] - 1
        text = f"{suspect['echoes'][0]}{f', and {others} more' if others else ''}"
        yield from _told("in step", text, width)
    if suspect["bound"]:
        bound = "with a" if suspect["bound"] == "bounded" else "without any"
        yield from _told("cache", f"a functools.lru_cache {bound} bound", width)
    if suspect["levels_off"]:
        yield from _told("shape", "levels off, as a cache does that fills", width)


def _head(place: int, suspect: Suspect, per: str, width: int) -> str:
    """Return type, series and rate; the series stays away if it does not fit."""
    start, rate = f"{place}. {visible(suspect['type'])}", bytes_rate(suspect, per)
    whole = f"{start}  {_series(suspect)}  {rate}"
    return whole if len(whole) <= width else middle_cut(f"{start}  {rate}", width)


def _contents(suspect: Suspect) -> str:
    """Return what each object of a suspect brings with it, the heaviest first."""
    gained = suspect["counts"][-1] - suspect["counts"][0]
    parts = []
    for content in suspect["contents"]:
        each = content["gained"] / max(gained, 1)
        if content["type"] != suspect["type"] and each >= 0.5:
            size = human_bytes(content["gained_bytes"] / max(gained, 1))
            parts.append(f"{each:.3g} {content['type']} ({size})")
    del parts[_MOST_CONTENTS:]
    return f"each with {', '.join(parts)}" if parts else ""


def _series(suspect: Suspect) -> str:
    if suspect["grows"] == "size":
        sizes = suspect["bytes"]
        return f"{human_bytes(sizes[0])} -> {human_bytes(sizes[-1])}"
    shown = [human_count(value) for value in suspect["counts"]]
    if len(shown) > _MOST_ROUNDS:
        shown = [*shown[:2], "...", *shown[-2:]]
    return " -> ".join(shown)


def _told(label: str, text: str, width: int) -> Iterator[str]:
    """Yield one labelled fact; of a long one the beginning and the end."""
    indent = " " * (_INDENT + 1)
    lines = _broken(visible(text, longest=_LONGEST), width - 1 - len(indent))
    if len(lines) > _MOST_LINES_OF_ONE:
        lines = [*lines[:2], "...", lines[-1]]
    for number, line in enumerate(lines):
        yield f"{indent if number else f'   {label}:'.ljust(len(indent))}{line}"


def _broken(text: str, width: int) -> list[str]:
    """Break a text between words, and a word that is too long where it has steps."""
    lines = [""]
    for word in text.split(" "):
        atoms = [word] if len(word) <= width else _ATOM.findall(word)
        for number, atom in enumerate(atoms):
            gap = " " if lines[-1] and not number else ""
            if len(lines[-1]) + len(gap) + len(atom) > width and lines[-1]:
                lines.append("")
                gap = ""
            pieces = [atom[at : at + width] for at in range(0, len(atom), width)]
            lines[-1] += gap + "".join(pieces[:1])
            lines += pieces[1:]
    return lines


def _wrapped(text: str, width: int, indent: int = 11) -> list[str]:
    return textwrap.wrap(
        visible(text, longest=_LONGEST),
        width - 1,
        subsequent_indent=" " * indent,
        break_on_hyphens=False,
    )
