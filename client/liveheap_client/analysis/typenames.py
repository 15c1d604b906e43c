"""Types by the names that people type: whole or short, copied, or nearly right.

A name is often copied from our own output. There a control character is spelled out,
and where the terminal is narrow an ellipsis stands for the middle: both are read back.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import SequenceMatcher

import numpy as np
from numpy.typing import NDArray

from liveheap.errors import CommandError
from liveheap_client.analysis.graph import HeapGraph

MOST_NAMES_COMPARED = 50_000
ALIKE = 0.6
BEGINS = 2.0
BEGINNING = 3
MAX_CODE = 0x10FFFF
_SPELLED = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8}))")
_CUT = "…"


def objects_of_type(graph: HeapGraph, type_name: str) -> tuple[str, NDArray[np.intp]]:
    """Return a type's full name and its objects.

    Args:
        graph: where to look.
        type_name: `module.Class`, or only `Class`.

    Raises:
        CommandError: `no-such-type`, with the names that come close.
    """
    wanted = _numbers(graph, type_name)
    objects = np.flatnonzero(np.isin(graph.type, wanted)) if wanted else np.array([])
    if not len(objects):
        raise CommandError(
            "no-such-type",
            f"the snapshot has no object of a type '{type_name}'",
            hint=close_names(graph, type_name),
        )
    names = {graph.type_name(int(number)) for number in np.unique(graph.type[objects])}
    return " | ".join(sorted(names)), objects


def _numbers(graph: HeapGraph, type_name: str) -> list[int]:
    """Return the types of that name: of the whole one, or else of the short one."""
    same = _matcher(type_name)
    return [
        number
        for number, info in enumerate(graph.types)
        if number and (same(info.name) or same(f"{info.module}.{info.qualname}"))
    ] or [
        number
        for number, info in enumerate(graph.types)
        if number and (same(info.qualname) or same(_last_part(info.qualname)))
    ]


def _matcher(type_name: str) -> Callable[[str], bool]:
    """Return whether a name is the one that was typed, or copied from a screen."""
    meant = {type_name, _SPELLED.sub(_mark, type_name)}
    if type_name.count(_CUT) != 1:
        return meant.__contains__
    ends = [tuple(name.split(_CUT)) for name in meant]

    def same(name: str) -> bool:
        return name in meant or any(
            len(name) >= len(head) + len(tail)
            and name.startswith(head)
            and name.endswith(tail)
            for head, tail in ends
        )

    return same


def _mark(spelled: re.Match[str]) -> str:
    code = int(next(filter(None, spelled.groups())), 16)
    return chr(code) if code <= MAX_CODE else spelled.group()


def close_names(graph: HeapGraph, type_name: str) -> str:
    """Return a hint with the types whose own names are most like the one asked for.

    Those that begin with it come first, then the similar ones. Case does not count,
    and of equally similar ones the more numerous comes first.
    """
    asked, whole = _own_name(type_name), type_name.lower()

    def begins(name: str) -> bool:
        if "." in whole:
            return name.lower().startswith(whole)
        return len(asked) >= BEGINNING and _own_name(name).startswith(asked)

    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(asked)
    counts = np.bincount(graph.class_of_type[graph.type])
    alike: dict[str, tuple[float, int]] = {}
    for number in np.flatnonzero(counts)[:MOST_NAMES_COMPARED]:
        name = graph.type_name(int(number))
        matcher.set_seq1(_own_name(name))
        if number and begins(name):
            alike[name] = (BEGINS, int(counts[number]))
        elif number and matcher.real_quick_ratio() >= ALIKE <= matcher.quick_ratio():
            alike[name] = (matcher.ratio(), int(counts[number]))
    best = sorted(alike, key=lambda name: (*alike[name], name), reverse=True)
    best = [name for name in best if alike[name][0] >= ALIKE][:3]
    if best:
        return "did you mean " + ", ".join(best) + "?"
    return "`liveheap histogram` lists the types"


def _own_name(type_name: str) -> str:
    return _last_part(type_name).lower()


def _last_part(name: str) -> str:
    return name.rpartition(".")[2]
