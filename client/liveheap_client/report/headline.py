"""The sentence on top of a page, and the word before it.

The verdict is the analysis' own, word for word; what stands before its colon becomes
the word above it. One file has no verdict: then it is what holds most.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from liveheap_client.quantities import human_bytes

_MOODS = {
    "leak": "bad",
    "reference-leak": "bad",
    "native": "bad",
    "descriptors": "bad",
    "plateau": "good",
    "nothing-grows": "good",
}
_LONGEST_WORD = 40
DROP = 0.7


@dataclass(frozen=True, slots=True)
class Headline:
    """`word` says what kind of answer it is, `mood` how to colour that word."""

    word: str
    mood: str
    sentence: str
    more: str = ""


def headline(growth: Mapping[str, Any] | None, holdings: Mapping[str, Any]) -> Headline:
    """Return the answer in a sentence."""
    if growth is None:
        return _snapshot(holdings)
    verdict = growth["verdict"]
    word, colon, rest = str(verdict["sentence"]).partition(": ")
    mood = _MOODS.get(str(verdict["kind"]), "open")
    if not colon or len(word) > _LONGEST_WORD:
        word, rest = "Verdict", str(verdict["sentence"])
    elif mood != "bad":
        # Then it begins with a word of ours; else, it may, with a name.
        rest = rest[:1].upper() + rest[1:]
    more = f"{verdict['confidence']} confidence".capitalize()
    return Headline(word, mood, rest.replace(" -> ", " → "), more)


def _snapshot(holdings: Mapping[str, Any]) -> Headline:
    total = holdings["bytes"]
    if not holdings["children"]:
        return Headline("One snapshot", "open", "The snapshot holds no objects.")
    first = _accumulation(holdings["children"][0])
    share = 100 * first["bytes"] / (total or 1)
    text = first["text"].replace(" -> ", " → ")
    size, whole = human_bytes(first["bytes"]), human_bytes(total)
    sentence = f"{text} holds most: {size} of {whole} ({share:.0f} %)."
    more = "What grows takes two snapshots or more."
    return Headline("One snapshot", "open", sentence, more)


def _accumulation(holding: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return where most of a holding comes together: the last single object before
    the many, or before what falls apart.
    """
    while holding["children"]:
        heaviest: Mapping[str, Any] = holding["children"][0]
        if heaviest["count"] != 1 or heaviest["bytes"] < DROP * holding["bytes"]:
            break
        holding = heaviest
    return holding
