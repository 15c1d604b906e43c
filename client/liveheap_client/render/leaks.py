"""One screen: the verdict, the first suspects, what was ruled out, what to type next.

Works on the report's JSON form. It is prose for a person, also in a pipe. Eighty
columns and twenty-four lines: what does not fit is left to `--json` and to `report`.
"""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from liveheap_client.analysis.sentence import bytes_rate
from liveheap_client.render.escape import visible
from liveheap_client.render.table import Look, middle_cut
from liveheap_client.render.units import human_bytes, human_count

MOST_SUSPECTS = 4
_WIDTH = 80
_LONGEST = 1000
_MOST_ROUNDS = 6

Report = Mapping[str, Any]


def lines(report: Report, *, look: Look) -> Iterator[str]:
    """Yield the screen."""
    width = min(look.width or _WIDTH, 120)
    verdict = report["verdict"]
    text = visible(verdict["sentence"], longest=_LONGEST)
    for line in textwrap.wrap(text, width - 1, break_on_hyphens=False):
        yield look.strong(line)
    yield f"verdict: {verdict['kind']}, confidence {verdict['confidence']}"
    for note in report["notes"]:
        yield from _wrapped(f"note: {note}", width)
    for place, suspect in enumerate(_shown(report), 1):
        yield ""
        yield from _suspect(place, suspect, report["per"], look, width)
    more = len(report["suspects"]) + report["more_suspects"] - len(_shown(report))
    if more > 0:
        yield f"   ... {more} more that gained less: --json"
    if report["ruled_out"]:
        yield ""
        for number, line in enumerate(report["ruled_out"]):
            yield from _wrapped(
                f"{'ruled out:' if not number else ' ' * 10} {line}", width
            )
    yield f"next: {visible(report['next'], longest=_LONGEST)}"


def _shown(report: Report) -> list[Mapping[str, Any]]:
    """Return the suspects for the screen, the one of the verdict first."""
    first = report["verdict"]["suspect"]
    suspects = list(report["suspects"])
    if first is not None:
        suspects.insert(0, suspects.pop(first))
    elif report["verdict"]["kind"] in ("plateau", "nothing-grows"):
        return []
    return suspects[:MOST_SUSPECTS]


def _suspect(
    place: int, suspect: Mapping[str, Any], per: str, look: Look, width: int
) -> Iterator[str]:
    kind = visible(suspect["type"])
    also = ", ".join(visible(name) for name in suspect["also"])
    counts = _series(suspect)
    head = f"{place}. {kind}  {counts}  {bytes_rate(suspect, per)}"
    yield look.strong(middle_cut(head, width))
    if suspect["orphan"]:
        yield (
            f"   holder: none: no referrer, reference count "
            f"{suspect['excess_references']} higher than known: C keeps it"
        )
    elif suspect["holder"]:
        text = f"   holder: {visible(suspect['holder'], longest=_LONGEST)}"
        if suspect["holder_type"]:
            text += f" ({visible(suspect['holder_type'])})"
        yield from _wrapped(text, width, indent=11)
    yield from _wrapped(
        f"   path:   {visible(suspect['path'], longest=_LONGEST)}", width, indent=11
    )
    if also:
        yield from _wrapped(f"   also:   {also}", width, indent=11)
    if suspect["levels_off"]:
        yield "   levels off: a cache that fills looks like this"


def _series(suspect: Mapping[str, Any]) -> str:
    if suspect["grows"] == "size":
        return (
            f"{human_bytes(suspect['bytes'][0])} -> {human_bytes(suspect['bytes'][-1])}"
        )
    shown = [human_count(value) for value in suspect["counts"]]
    if len(shown) > _MOST_ROUNDS:
        shown = [*shown[:2], "...", *shown[-2:]]
    return " -> ".join(shown)


def _wrapped(text: str, width: int, *, indent: int = 11) -> list[str]:
    return textwrap.wrap(
        text, width - 1, subsequent_indent=" " * indent, break_on_hyphens=False
    )
