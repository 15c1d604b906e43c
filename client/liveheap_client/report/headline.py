"""The sentence on top of a page, and the word before it.

The verdict is the analysis' own, word for word. Where it has none (two rounds, one
file) the page says what can be said: what rose, or what holds most.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from liveheap_client.render.units import human_bytes, human_count

_WORDS = {
    "leak": ("Leak", "bad"),
    "reference-leak": ("Reference leak", "bad"),
    "native": ("Growth outside Python objects", "bad"),
    "descriptors": ("Descriptors grow", "bad"),
    "plateau": ("Plateau", "good"),
    "nothing-grows": ("Nothing grows", "good"),
    "undecided": ("Undecided", "open"),
}


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
    verdict = growth.get("verdict")
    if isinstance(verdict, Mapping) and verdict.get("sentence"):
        kind = str(verdict.get("kind"))
        word, mood = _WORDS.get(kind, (kind, "open"))
        return Headline(word, mood, str(verdict["sentence"]), _confidence(verdict))
    return _comparison(growth)


def _confidence(verdict: Mapping[str, Any]) -> str:
    value = verdict.get("confidence")
    if isinstance(value, int | float):
        return f"Confidence {value:.0%}"
    return f"Confidence: {value}" if value else ""


def _snapshot(holdings: Mapping[str, Any]) -> Headline:
    total = holdings["bytes"]
    if not holdings["children"]:
        return Headline("One snapshot", "open", "The snapshot holds no objects.")
    first = holdings["children"][0]
    while first["children"] and first["children"][0]["bytes"] >= 0.7 * first["bytes"]:
        first = first["children"][0]
    share = 100 * first["bytes"] / (total or 1)
    sentence = (
        f"{first['text']} holds most: {human_bytes(first['bytes'])} of "
        f"{human_bytes(total)} ({share:.0f} %)."
    )
    return Headline("One snapshot", "open", sentence, "What grows takes two or more.")


def _comparison(growth: Mapping[str, Any]) -> Headline:
    rounds = len(growth["rounds"])
    n_suspects = len(growth["suspects"]) + growth.get("more_suspects", 0)
    word = "Growth" if n_suspects else "No growth"
    mood = "open" if rounds < 4 else "bad" if n_suspects else "good"
    if not n_suspects:
        return Headline(
            word, mood, f"No path gained objects in each of {rounds} rounds."
        )
    first = growth["suspects"][0]
    paths = "one path" if n_suspects == 1 else f"{human_count(n_suspects)} paths"
    sentence = (
        f"{first['path']} gained most: {human_count(first['counts'][0])} to "
        f"{human_count(first['counts'][-1])} objects in {rounds} rounds."
    )
    return Headline(word, mood, sentence, f"In all {paths} gained in every round.")
