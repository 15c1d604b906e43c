"""Did the commands find what was hidden? Only the demo can know, so it asks.

The judge reads what a person reads: the first suspect of `leaks`, and the tree that
`backrefs` printed. It is strict about the order, for a leak that stands second in
the list is a leak that somebody overlooks.
"""

import json
from dataclasses import dataclass

LEAK = ("CACHE", "rows")
GREENLET_TYPE = "Attachment"
GREENLET_HOLDERS = ("ask_partner", "outgoing")
INNOCENT = "Thumbnail"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was hidden in the worker, and whether it was found."""

    sentence: str
    found: bool
    evidence: str


def judge(*, report: str, growth: str, holders: str) -> list[Finding]:
    """Compare the answers with what the worker really does.

    Args:
        report: what `leaks --json` printed for the rounds.
        growth: what `leaks` printed for people.
        holders: what `backrefs` printed for the greenlets' objects.
    """
    suspects = json.loads(report)["suspects"]
    return [
        first_suspect(suspects, growth),
        greenlet_growth(suspects),
        greenlet_holders(holders),
        nobody_innocent(suspects),
    ]


def first_suspect(suspects: list[dict[str, object]], growth: str) -> Finding:
    path = str(suspects[0]["path"]) if suspects else "nothing"
    named = all(name in path for name in LEAK)
    return Finding(
        "the first suspect is the cache that nobody empties",
        named and ".".join(LEAK) in "".join(growth.split()),
        path,
    )


def greenlet_growth(suspects: list[dict[str, object]]) -> Finding:
    paths = [
        str(suspect["path"])
        for suspect in suspects
        if all(name in str(suspect["path"]) for name in GREENLET_HOLDERS)
    ]
    return Finding(
        "the growing locals of waiting greenlets are among the suspects",
        bool(paths),
        paths[0] if paths else "no such suspect",
    )


def greenlet_holders(holders: str) -> Finding:
    lines = [line.strip(" │├└─|`-+") for line in holders.splitlines()]
    naming = [line for line in lines if any(name in line for name in GREENLET_HOLDERS)]
    return Finding(
        "who holds the attachments",
        all(name in holders for name in (GREENLET_TYPE, *GREENLET_HOLDERS)),
        naming[0] if naming else "no greenlet in the tree",
    )


def nobody_innocent(suspects: list[dict[str, object]]) -> Finding:
    accused = [str(suspect["path"]) for suspect in suspects if INNOCENT in str(suspect)]
    return Finding(
        "the cache with a limit is not accused",
        not accused,
        accused[0] if accused else "it is not on the list",
    )


def verdict_of(report: str) -> str:
    """Return the sentence in which `leaks` says what it found."""
    return str(json.loads(report)["verdict"]["sentence"])
