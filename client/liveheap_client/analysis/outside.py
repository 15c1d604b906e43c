"""Growth that is in no Python object: whose memory it is, round by round.

A snapshot's trailer says what the allocators had given out and kept when the worker was
cloned (FORMAT.md). So what RSS gained besides objects comes apart:

    fragmentation  free blocks in pools of Python's allocator
    malloc-free    free memory that malloc keeps
    native         given out by an allocator, and in no object of the graph
    mapped         the rest: files, shared memory, mmap, stacks of threads

Files of older versions, other libraries than glibc, and a worker that was cloned in the
middle of a malloc lack some of the figures; then nothing is told apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from liveheap_client.quantities import human_bytes

MOST = 0.6
MUCH = 0.25

_NEEDED = (
    "outside",
    "outside_after",
    "pool_used",
    "pool_free",
    "malloc_used",
    "malloc_free",
    "malloc_mapped",
)
_WORDS = {
    "fragmentation": "are free memory kept by Python's allocator (fragmentation: a few "
    "objects pin its arenas)",
    "malloc-free": "are free memory that malloc keeps",
    "native": "are native memory, given out by malloc to what is no Python object (an "
    "extension's)",
    "mapped": "are mapped: files, shared memory, mmap or stacks of threads",
}
_NEXT = {
    "fragmentation": "memory  # only a new worker has no fragments",
    "malloc-free": "trim  # gives it back; MALLOC_ARENA_MAX=2 keeps less",
    "native": "memory --interval 5m --walk  # then memray, heaptrack",
    "mapped": "memory --interval 5m",
}

Memory = Sequence[Mapping[str, Any]]


def parts(memory: Memory) -> dict[str, int] | None:
    """Return what RSS gained outside objects, the largest first; None if unknown.

    Args:
        memory: the facts of each round, as plain data.
    """
    first, last = memory[0], memory[-1]
    if any(one.get(name) is None for one in (first, last) for name in _NEEDED):
        return None
    gained = {name: last[name] - first[name] for name in _NEEDED}
    objects = last["graph"] - first["graph"]
    whole = _gained(memory)
    given_out = gained["pool_used"] + gained["malloc_used"] + gained["malloc_mapped"]
    # What the first snapshot itself cost was taken after its figures.
    own = first["outside_after"] - first["outside"]
    found = {
        "fragmentation": gained["pool_free"],
        "malloc-free": gained["malloc_free"],
        "native": given_out - objects - own,
    }
    found["mapped"] = whole - sum(found.values())
    # What shrank elsewhere makes room that the sum does not show.
    found = {name: min(size, whole) for name, size in found.items()}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def main_part(memory: Memory) -> str | None:
    """Return the part that gained most; None if nobody knows."""
    found = parts(memory)
    return None if found is None else next(iter(found))


def is_clear(memory: Memory) -> bool:
    """Tell whether one part is most of what was gained."""
    found = parts(memory)
    return found is not None and max(found.values()) >= MOST * _gained(memory)


def words(memory: Memory) -> str | None:
    """Return ` 5.0 MiB are ..., 2.0 MiB are ...`; None if nobody knows."""
    found = parts(memory)
    if found is None:
        return None
    first, *others = found
    least = MUCH * _gained(memory)
    told = [first, *(name for name in others if found[name] >= least)]
    return ", ".join(f"{human_bytes(found[name])} {_WORDS[name]}" for name in told)


def next_step(memory: Memory) -> str | None:
    """Return the verb to type next, with its options and why."""
    part = main_part(memory)
    return None if part is None else _NEXT[part]


def _gained(memory: Memory) -> int:
    """Return what RSS gained outside objects; the first snapshot's cost is not it."""
    gained: int = memory[-1]["outside"] - memory[0]["outside_after"]
    return gained
