"""Types by the names that people type: whole or short, or nearly right."""

from __future__ import annotations

from difflib import SequenceMatcher

import numpy as np
from numpy.typing import NDArray

from liveheap.errors import CommandError
from liveheap_client.analysis.graph import HeapGraph

MOST_NAMES_COMPARED = 50_000
ALIKE = 0.6


def objects_of_type(graph: HeapGraph, type_name: str) -> tuple[str, NDArray[np.intp]]:
    """Return a type's full name and its objects.

    Args:
        graph: where to look.
        type_name: `module.Class`, or only `Class`.

    Raises:
        CommandError: `no-such-type`, with the names that come close.
    """
    wanted = [
        number
        for number, info in enumerate(graph.types)
        if number and type_name in (info.name, f"{info.module}.{info.qualname}")
    ] or [
        number
        for number, info in enumerate(graph.types)
        if number and type_name in (info.qualname, info.qualname.rpartition(".")[2])
    ]
    objects = np.flatnonzero(np.isin(graph.type, wanted)) if wanted else np.array([])
    if not len(objects):
        raise CommandError(
            "no-such-type",
            f"the snapshot has no object of a type {type_name!r}",
            hint=close_names(graph, type_name),
        )
    names = {graph.type_name(int(number)) for number in np.unique(graph.type[objects])}
    return " | ".join(sorted(names)), objects


def close_names(graph: HeapGraph, type_name: str) -> str:
    """Return a hint with the types whose own names are most like the one asked for.

    Case does not count, and of equally similar ones the more numerous comes first.
    """
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(_own_name(type_name))
    counts = np.bincount(graph.class_of_type[graph.type])
    alike: dict[str, tuple[float, int]] = {}
    for number in np.flatnonzero(counts)[:MOST_NAMES_COMPARED]:
        name = graph.type_name(int(number))
        matcher.set_seq1(_own_name(name))
        if number and matcher.real_quick_ratio() >= ALIKE <= matcher.quick_ratio():
            alike[name] = (matcher.ratio(), int(counts[number]))
    best = sorted(alike, key=lambda name: (*alike[name], name), reverse=True)
    best = [name for name in best if alike[name][0] >= ALIKE][:3]
    if best:
        return "did you mean " + ", ".join(best) + "?"
    return "`liveheap histogram` lists the types"


def _own_name(type_name: str) -> str:
    return type_name.rpartition(".")[2].lower()
