"""The verdict in one sentence, made from the report's JSON and from nothing else.

Fixed order: path, type, from what to what, rate, in how many intervals, forecast. Then
what weakens it, what was ruled out, and the command to type next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Any

from liveheap_client.analysis import openfiles, outside
from liveheap_client.analysis.kinds import says_what
from liveheap_client.quantities import human_bytes, human_count, human_seconds, signed

Report = Mapping[str, Any]

MUCH_KEPT = 4 << 20
MOST_CACHES = 2
_PER = {"hour": "an hour", "round": "a round"}


def sentence(report: Report) -> str:
    """Return the verdict's sentence."""
    return _SENTENCES[report["verdict"]["kind"]](report)


def grown(suspect: Mapping[str, Any], per: str) -> str:
    """Return `10 -> 40 app.Row, +5.1 KiB a minute`, the growth of a suspect."""
    first, last = suspect["counts"][0], suspect["counts"][-1]
    if suspect["grows"] == "size":
        sizes = suspect["bytes"]
        ends = f"{human_bytes(sizes[0])} -> {human_bytes(sizes[-1])}"
        return f"{ends}, {bytes_rate(suspect, per)}"
    what = "items" if suspect["grows"] == "length" else suspect["type"]
    counts = f"{human_count(first)} -> {human_count(last)} {what}"
    brought = carried(suspect)
    with_it = f" (each with a {brought})" if brought else ""
    return f"{counts}{with_it}, {bytes_rate(suspect, per)}"


def carried(suspect: Mapping[str, Any]) -> str | None:
    """Return the class that comes with each of a suspect's lists, dicts or tuples."""
    if suspect["grows"] != "count" or says_what(suspect["type"]):
        return None
    gained = max(suspect["counts"][-1] - suspect["counts"][0], 1)
    for content in suspect["contents"]:
        if says_what(content["type"]) and 2 * content["gained"] >= gained:
            return str(content["type"])
    return None


def filling_caches(report: Report) -> list[Mapping[str, Any]]:
    """Return the suspects that are small caches with a bound."""
    suspects: Sequence[Mapping[str, Any]] = report["suspects"]
    return [s for s in suspects if s["levels_off"] and s["bound"] == "bounded"]


def _grown(report: Report, suspect: Mapping[str, Any]) -> str:
    return grown(suspect, report["per"])


def bytes_rate(suspect: Mapping[str, Any], per: str) -> str:
    """Return how fast a suspect's bytes grow."""
    return f"{signed(human_bytes(suspect['bytes_slope']))} {_PER[per]}"


def _leak(report: Report) -> str:
    suspect = _suspect(report)
    how = f"{_grown(report, suspect)}, {_intervals(report)}"
    if suspect["garbage"]:
        return (
            f"Leak: cyclic garbage that nobody collects grew {how}; the collector is "
            "off (gc.disable())."
        )
    if suspect["waits_in"] and not suspect["holder"]:
        return f"Leak: more and more wait in {suspect['waits_in']}: {how}."
    place = suspect["holder"] or suspect["path"]
    kind = f" ({suspect['holder_type']})" if suspect["holder_type"] else ""
    return f"Leak: {place}{kind} grew {how}."


def _reference_leak(report: Report) -> str:
    suspect = _suspect(report)
    return (
        f"Reference leak in C: {_grown(report, suspect)}, {_intervals(report)}; "
        "nothing holds them (no referrer, reference count "
        f"{suspect['excess_references']} too high), so an extension took references "
        "that it never gives back."
    )


def _descriptors(report: Report) -> str:
    memory = report["memory"]
    parts = []
    for name, words in (("sockets", "sockets"), ("descriptors", "file descriptors")):
        first, last = memory[0][name], memory[-1][name]
        if first is not None and last is not None and last > first:
            ends = f"{human_count(first)} -> {human_count(last)}"
            parts.append(f"{words} grew {ends}{_a_span(report, last - first)}")
    kind = openfiles.growing_kind(memory[0], memory[-1])
    parts += [] if kind is None else [f"most of them {kind}"]
    text = f"Leak: open {', '.join(parts)}, {_intervals(report)}"
    suspect = _maybe_suspect(report)
    if suspect is None:
        return f"{text}."
    if suspect["waits_in"] and not suspect["holder"]:
        return f"{text}; with them grew {_grown(report, suspect)}."
    where = suspect["holder"] or suspect["path"]
    return f"{text}; with them grew {where}: {_grown(report, suspect)}."


def _a_span(report: Report, gained: float) -> str:
    """Return ` (+1,200 an hour)`, if it is known how long the rounds took."""
    lasted = _lasted(report)
    if not lasted:
        return ""
    return f" ({signed(human_count(round(gained * 3600 / lasted)))} an hour)"


def _native(report: Report) -> str:
    memory, rss = report["memory"], report["rss"]
    gained = memory[-1]["outside"] - memory[0]["outside_after"]
    text = (
        f"Growth outside the Python heap: RSS grew {human_bytes(rss[-1] - rss[0])} "
        f"{_intervals(report)}, of it {human_bytes(gained)} is not in Python objects"
    )
    told = outside.words(memory)
    text = f"{text}{_guess(report, gained)}" if told is None else f"{text}: {told}"
    suspect = _maybe_suspect(report)
    if suspect is None:
        return f"{text}; no path of objects grew."
    return (
        f"{text}. Of objects {suspect['path']} grew most: {_grown(report, suspect)}; "
        "do they hold native memory?"
    )


def _guess(report: Report, gained: int) -> str:
    """Return whose memory it is, as far as rounds without malloc's figures tell."""
    kept = _kept_gain(report)
    if kept is None:
        return " but native memory (an extension's, or freed and kept)"
    if kept < 0.5 * gained:
        return " but native memory (an extension's)"
    return (
        f": {human_bytes(kept)} are free memory kept by Python's allocator "
        "(fragmentation: a few objects pin its arenas)"
    )


def _kept_gain(report: Report) -> int | None:
    """Return by how much the free memory in Python's allocator grew."""
    first, last = (report["memory"][place]["pool_free"] for place in (0, -1))
    return None if first is None or last is None else last - first


def _plateau(report: Report) -> str:
    filling = [s for s in report["suspects"] if s["levels_off"]]
    flat = _flatness(report)
    if filling:
        first = filling[0]
        place = first["holder"] or first["path"]
        if first["bound"] == "bounded":
            ends = " -> ".join(human_count(first["counts"][n]) for n in (0, -1))
            return (
                f"No leak: plateau. {place} is an lru_cache with a bound and fills up "
                f"({ends} entries); {flat}."
            )
        return (
            f"No leak: plateau. {place} fills up and levels off "
            f"({_grown(report, first)} at first); {flat}."
        )
    return f"No leak: plateau, no path grew round after round; {flat}."


def _nothing(report: Report) -> str:
    return f"No leak: nothing grows; {_flatness(report)}."


def _undecided(report: Report) -> str:
    n = len(report["rounds"])
    reasons = {
        "few-rounds": f"{n} round{'s' if n > 1 else ''} only, a verdict takes 4",
        "different-processes": "the rounds come from different processes",
        "garbage": "cyclic garbage piles up, and no collection came to take it",
        "rises-without-a-path": "the heap grew, but no path of it in every round",
    }
    given = tuple(report["verdict"]["reasons"])
    text = f"Undecided: {'; '.join(reasons.get(r, r) for r in given)}"
    suspect = _maybe_suspect(report)
    if suspect is None:
        return f"{text}."
    if given == ("bursts",):
        where = f"{suspect['intervals']} of {n - 1} intervals"
        return (
            f"Undecided: {suspect['holder'] or suspect['path']} grew "
            f"{_grown(report, suspect)}, in {where} only, and never fell: rounds "
            "further apart will tell."
        )
    return f"{text}. So far {suspect['path']} grew most: {_grown(report, suspect)}."


_SENTENCES = {
    "leak": _leak,
    "reference-leak": _reference_leak,
    "descriptors": _descriptors,
    "native": _native,
    "plateau": _plateau,
    "nothing-grows": _nothing,
    "undecided": _undecided,
}


def ruled_out(report: Report) -> list[str]:
    """Return what the verdict is not, each with the figures that say so."""
    kind = report["verdict"]["kind"]
    lines: list[str] = []
    if kind == "undecided":
        return lines
    memory, rss = report["memory"], report["rss"]
    if kind != "native" and None not in (rss[0], rss[-1]):
        outside = memory[-1]["outside"] - memory[0]["outside"]
        lines.append(
            f"native memory: RSS {signed(human_bytes(rss[-1] - rss[0]))}, "
            f"{signed(human_bytes(outside))} outside the Python heap{_kept(report)}"
        )
    open_files = []
    for name in ("descriptors", "sockets"):
        first, last = memory[0][name], memory[-1][name]
        if kind != "descriptors" and None not in (first, last):
            open_files.append(f"{name}: {human_count(first)} -> {human_count(last)}")
    if open_files:
        lines.append(", ".join(open_files))
    for cache in filling_caches(report)[:MOST_CACHES]:
        ends = " -> ".join(human_count(cache["counts"][n]) for n in (0, -1))
        place = cache["holder"] or cache["path"]
        lines.append(f"an lru_cache with a bound, which fills: {place}, {ends} entries")
    garbage = report["rounds"][-1]["garbage_bytes"]
    lines.append(f"garbage waiting for the collector: {human_bytes(garbage)}")
    return lines


def _kept(report: Report) -> str:
    kept = _kept_gain(report) or 0
    if kept < MUCH_KEPT:
        return ""
    return f" ({signed(human_bytes(kept))} free in Python's allocator)"


@dataclass(frozen=True, slots=True)
class Places:
    """What the next command may name.

    `newest` is the file of the last round; `rounds` are all of them, as a shell writes
    them; None where no file was kept. `target` is the worker, "" where none need be
    named. A shell is told its verbs without the program's name.
    """

    target: str | None
    newest: str | None
    rounds: str | None
    in_shell: bool = False


def next_command(report: Report, places: Places) -> str:
    """Return what to type next."""
    kind = report["verdict"]["kind"]
    suspect = _maybe_suspect(report)
    if kind == "undecided":
        reasons = report["verdict"]["reasons"]
        if "different-processes" in reasons and places.target is None:
            return _page(places)
        more = "--gc" if "garbage" in reasons else "--rounds 6"
        return _again(places, f"{more} --interval 5m" if "bursts" in reasons else more)
    if kind in ("plateau", "nothing-grows"):
        return _again(places, "--rounds 6 --interval 5m")
    if kind == "native":
        return _after_native(report, places)
    if suspect is None:
        return _typed(places, "histogram", _place(places))
    return _look_at(suspect, places)


def _after_native(report: Report, places: Places) -> str:
    """Return what shows more of growth outside the heap: the worker, if it lives."""
    step = outside.next_step(report["memory"])
    if step is not None and places.target is not None:
        verb, _, rest = step.partition(" ")
        return _typed(places, verb, _worker(places), rest)
    again = _again(places, "--rounds 6 --interval 5m")
    return f"{again}  # if it goes on: a native profiler (memray, heaptrack)"


def _look_at(suspect: Mapping[str, Any], places: Places) -> str:
    """Return how to see more of a suspect.

    Who refers to all the dicts of a worker is no help: of a type that says nothing it
    is one object that tells, in a file; or, of a living worker, its containers.
    """
    brought = carried(suspect)
    kind = suspect["type"] if "." in suspect["type"] else brought
    if suspect["orphan"] and kind is not None:
        return _typed(places, "paths", quote(kind), _place(places))
    if kind is not None:
        return _typed(places, "backrefs", quote(kind), _place(places))
    if places.newest is not None:
        return _typed(places, "object", suspect["example"], _place(places))
    if suspect["orphan"]:
        return _typed(places, "leaks", _place(places), "--keep DIR")
    return _typed(places, "collections", _place(places))


def _again(places: Places, options: str) -> str:
    """Return how to hunt on; of a worker that is gone there are its rounds to see."""
    if places.target is None and places.rounds is not None:
        return _page(places)
    return _typed(places, "leaks", _worker(places), options)


def _page(places: Places) -> str:
    if places.rounds is None:
        return "liveheap ps"
    return _typed(places, "report", places.rounds, "-o report.html")


def _typed(places: Places, *words: str) -> str:
    return " ".join(filter(None, ("" if places.in_shell else "liveheap", *words)))


def _worker(places: Places) -> str:
    if places.target is None:
        return "TARGET"
    return places.target and quote(places.target)


def _place(places: Places) -> str:
    return quote(places.newest) if places.newest else _worker(places)


def _suspect(report: Report) -> Mapping[str, Any]:
    suspects: Sequence[Mapping[str, Any]] = report["suspects"]
    place: int = report["verdict"]["suspect"]
    return suspects[place]


def _maybe_suspect(report: Report) -> Mapping[str, Any] | None:
    place = report["verdict"]["suspect"]
    return None if place is None else _suspect(report)


def _intervals(report: Report) -> str:
    n = len(report["rounds"]) - 1
    lasted = _lasted(report)
    return f"in {n}/{n} intervals" + (f" ({human_seconds(lasted)})" if lasted else "")


def _lasted(report: Report) -> float:
    """Return the seconds from the first round to the last, 0 if nobody knows."""
    first, last = (report["rounds"][place]["created"] for place in (0, -1))
    return 0 if None in (first, last) else max(last - first, 0)


def _flatness(report: Report) -> str:
    live = [one["bytes"] - one["garbage_bytes"] for one in report["rounds"]]
    n = len(live)
    spread = 100 * (max(live) - min(live)) / max(*live, 1)
    text = f"live heap {human_bytes(live[-1])}, within {spread:.1f} % over {n} rounds"
    lasted = _lasted(report)
    text += f" ({human_seconds(lasted)})" if lasted else ""
    rss = report["rss"]
    if None not in (rss[0], rss[-1]):
        text += f", RSS {signed(human_bytes(rss[-1] - rss[0]))}"
    free = report["memory"][-1]["pool_free"]
    if free is not None and rss[-1] and free >= max(MUCH_KEPT, 0.1 * rss[-1]):
        text += (
            f"; of RSS {human_bytes(rss[-1])}, {human_bytes(free)} are free memory "
            "kept by Python's allocator (fragmentation: a few objects pin its arenas)"
        )
    return text
