"""What weakens an answer, in words: the flags that a walk of the heap comes back with.

Agents send short names; a newer agent may send one that is not known here, and then
the name itself is shown.
"""

_WORDS = {
    "gc-in-progress": "a collection was going on: its garbage is not counted",
    "subinterpreters": "only the main interpreter was walked",
    "greenlets-hidden": "suspended greenlets show their top frame only",
    "no-oom-fence": "the child was not the first to go if memory ran out",
    "not-nice": "the child ran at the worker's own priority",
    "no-memory-fence": "the child's memory had no limit",
    "no-spool-limit": "the spool's size had no limit",
}
_WITHOUT_TYPE = "without-type:"


def reservations(flags: object) -> list[str]:
    """Return a sentence for each flag."""
    return [_sentence(str(flag)) for flag in flags] if isinstance(flags, list) else []


def _sentence(flag: str) -> str:
    if flag.startswith(_WITHOUT_TYPE):
        return f"objects of {flag.removeprefix(_WITHOUT_TYPE)} were left out"
    return _WORDS.get(flag, flag)
