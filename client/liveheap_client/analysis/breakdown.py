"""Where resident memory goes, in words: what it is made of, and why it grew.

A breakdown is the record of the agent's `memory`: bytes in parts that add up to RSS.
Two of one process, and the growth has causes; several may hold, each with its bytes and
with what helps:

    objects           blocks of Python's allocator, and of malloc as far as a walk of
                      the heap has found objects in them
    fragmentation     free blocks in pools that a few objects pin
    malloc-free       free memory that malloc keeps
    native            memory from malloc that no Python object accounts for
    python-or-native  the same, where no walk was made to tell
    mapped            files, shared memory, and anonymous memory that is neither's
    stacks            of threads

A cause counts from a MiB on, if it is a twentieth of the growth or more. Free memory
counts only where it is much beside what is used: every allocator keeps some. Where
malloc is not glibc's, its memory is somebody's who cannot be asked; where Python's
objects come from malloc, those two are one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from liveheap_client.quantities import human_bytes, human_count, human_seconds, signed

PARTS = {
    "objects": "Python objects",
    "pool_free": "Python's allocator, free",
    "pool_overhead": "Python's allocator, overhead",
    "malloc_used": "malloc, in use",
    "malloc_free": "malloc, free",
    "malloc_mapped": "malloc, mapped blocks",
    "anonymous": "other anonymous memory",
    "stacks": "thread stacks",
    "main_stack": "main stack",
    "shared": "shared memory",
    "files": "mapped files",
    "relocations": "mapped files, written to",
}
LEAST_BYTES = 1 << 20
LEAST_SHARE = 0.05
MUCH_FREE = 0.3
MUCH_IN_USE = 0.5
MANY_ARENAS = 4
ROUNDED_BYTES = 16

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Cause:
    """Why memory grew, or what stands out in it: bytes, words, and what helps."""

    kind: str
    bytes: int
    sentence: str
    remedy: str

    def to_json(self) -> dict[str, object]:
        """Return it as plain data."""
        return {
            "kind": self.kind,
            "bytes": self.bytes,
            "sentence": self.sentence,
            "remedy": self.remedy,
        }


def growth(before: Record, after: Record) -> dict[str, int]:
    """Return by how much each part grew, and `rss`."""
    return {name: _size(after, name) - _size(before, name) for name in ("rss", *PARTS)}


def is_same_process(before: Record, after: Record) -> bool:
    """Tell whether two breakdowns are of one process."""
    names = ("pid", "start_time", "instance")
    return all(before.get(name) == after.get(name) for name in names)


def causes(before: Record, after: Record) -> list[Cause]:
    """Return why RSS grew between two breakdowns, the largest first."""
    grown = growth(before, after)
    least = max(LEAST_BYTES, int(LEAST_SHARE * max(grown["rss"], 0)))
    found = [
        *_of_allocators(grown, before, after),
        *_of_free_memory(grown, after),
        *_of_mappings(grown, before, after),
    ]
    found = [cause for cause in found if cause.bytes >= least]
    return sorted(found, key=lambda cause: -cause.bytes)


def _of_allocators(
    grown: Mapping[str, int], before: Record, after: Record
) -> Iterator[Cause]:
    """Yield what is in use: objects, native memory, or either."""
    large = grown["malloc_used"] + grown["malloc_mapped"]
    if not is_glibc(after):
        yield _unknown(after, large + grown["anonymous"])
        yield _objects(grown["objects"])
        return
    in_malloc = _objects_in_malloc(grown["objects"], large, before, after)
    if in_malloc is None:
        yield _objects(grown["objects"])
        yield _either(large, after)
        return
    yield _objects(grown["objects"] + in_malloc)
    yield Cause(
        "native",
        large - in_malloc,
        f"Native memory: {human_bytes(large - in_malloc)} more from malloc that no "
        "Python object accounts for",
        "a native profiler on the extension that allocates: memray, heaptrack",
    )


def _objects_in_malloc(
    small: int, large: int, before: Record, after: Record
) -> int | None:
    """Return how much of what malloc gave out went to objects; None without walks.

    A walk adds up sizes and an allocator rounds each: within that nothing is native.
    """
    names = ("walked_bytes", "walked_objects")
    if any(
        not isinstance(one.get(name), int) for one in (before, after) for name in names
    ):
        return None
    sizes, n = (after[name] - before[name] for name in names)
    found = _beyond(small, sizes, large)
    return large if large - found <= ROUNDED_BYTES * max(n, 0) else found


def _beyond(small: int, walked: int, large: int) -> int:
    """Return what objects take of the memory that malloc gave out."""
    return min(max(walked - small, 0), max(large, 0))


def _objects(size: int) -> Cause:
    return Cause(
        "objects",
        size,
        f"Python objects: {human_bytes(size)} more",
        "liveheap leaks says which, and who holds them",
    )


def _either(size: int, after: Record) -> Cause:
    where = "" if has_pools(after) else ", where all Python objects are here"
    return Cause(
        "python-or-native",
        size,
        f"Large Python objects or native memory: {human_bytes(size)} more in use from "
        f"malloc{where}",
        "--walk tells the two apart, at the price of one fork",
    )


def _unknown(after: Record, size: int) -> Cause:
    return Cause(
        "unknown-allocator",
        size,
        f"Unknown allocator: malloc is {malloc_name(after)} here, and "
        f"{human_bytes(size)} more are in what it may have given out or kept",
        "the allocator's own statistics",
    )


def _of_free_memory(grown: Mapping[str, int], after: Record) -> Iterator[Cause]:
    """Yield what nobody uses: in Python's allocator, in malloc."""
    free = grown["pool_free"] + grown["pool_overhead"]
    if free >= MUCH_FREE * (free + max(grown["objects"], 0)):
        share = _share(after, "pool_free", "objects")
        yield Cause(
            "fragmentation",
            free,
            f"Fragmentation: {human_bytes(free)} more free memory in Python's "
            f"allocator ({share:.0f} % of its arenas); a few objects pin each",
            _RECYCLE,
        )
    large = max(grown["malloc_used"], 0)
    if grown["malloc_free"] >= MUCH_FREE * (grown["malloc_free"] + large):
        yield Cause(
            "malloc-free",
            grown["malloc_free"],
            f"Freed and kept: {human_bytes(grown['malloc_free'])} more free memory in "
            "malloc",
            _malloc_remedy(after),
        )


_RECYCLE = (
    "recycle the worker (max-tasks-per-child, max_requests): nothing else returns a "
    "pinned arena"
)


def _malloc_remedy(after: Record) -> str:
    """Return what helps against free memory in malloc."""
    parts = []
    given = _size(after, "trimmable")
    if given >= LEAST_BYTES:
        wait = human_seconds(float(after.get("trim_seconds") or 0))
        parts.append(
            f"liveheap trim gives back {human_bytes(given)}, and who calls malloc "
            f"may wait {wait} for it"
        )
    if _size(after, "n_arenas") >= MANY_ARENAS:
        arenas = human_count(_size(after, "n_arenas"))
        parts.append(f"MALLOC_ARENA_MAX=2: threads made {arenas} arenas")
    parts.append("MALLOC_TRIM_THRESHOLD_=131072 has malloc keep less")
    return "; ".join(parts)


def _of_mappings(
    grown: Mapping[str, int], before: Record, after: Record
) -> Iterator[Cause]:
    """Yield what was mapped: shared memory, files, anonymous memory, stacks."""
    names = ["shared", "files", "relocations"]
    names += ["anonymous"] if is_glibc(after) else []
    size = sum(grown[name] for name in names)
    most = max(names, key=lambda name: grown[name])
    yield Cause(
        "mapped",
        size,
        f"Mapped memory: {human_bytes(size)} more, most of it {PARTS[most]}",
        _MAPPED_REMEDY[most],
    )
    n = _size(after, "n_stacks") - _size(before, "n_stacks")
    yield Cause(
        "stacks",
        grown["stacks"],
        f"Thread stacks: {human_bytes(grown['stacks'])} more, of "
        f"{signed(human_count(n))} threads",
        "bound the pool that starts them; threading.stack_size() bounds each",
    )


_MAPPED_REMEDY = {
    "shared": "close what was mapped: mmap, multiprocessing.shared_memory, memfd",
    "files": "pages of files that are mapped; the kernel takes them back if it must",
    "relocations": "libraries that were loaded: imports that came late",
    "anonymous": "what code mapped for itself: mmap, a runtime of its own, a JIT",
}


def remarks(record: Record) -> list[Cause]:
    """Return what stands out in one breakdown, the largest first."""
    rss, found = max(_size(record, "rss"), 1), []
    free = _size(record, "pool_free")
    if free >= 0.1 * rss and _share(record, "pool_free", "objects") >= 100 * MUCH_FREE:
        share = _share(record, "pool_free", "objects")
        text = (
            f"{human_bytes(free)} are free in Python's allocator, {share:.0f} % of it"
        )
        found.append(Cause("fragmentation", free, text, _RECYCLE))
    kept = _size(record, "malloc_free")
    if kept >= 0.1 * rss and kept >= LEAST_BYTES and record.get("malloc_known"):
        text = f"{human_bytes(kept)} are free and kept by malloc"
        found.append(Cause("malloc-free", kept, text, _malloc_remedy(record)))
    used = _size(record, "malloc_used") + _size(record, "malloc_mapped")
    if used >= MUCH_IN_USE * rss and is_glibc(record) and has_pools(record):
        found.append(Cause("malloc-used", used, *_whose(used, record)))
    return sorted(found, key=lambda cause: -cause.bytes)


def _whose(used: int, record: Record) -> tuple[str, str]:
    """Return what is in use from malloc, in words, and how to learn more."""
    text = f"{human_bytes(used)} are in use from malloc: "
    walked = record.get("walked_bytes")
    if not isinstance(walked, int):
        return (
            f"{text}Python objects of over 512 bytes each, or native memory",
            "--walk tells the two apart, at the price of one fork; liveheap histogram "
            "says which objects are large",
        )
    objects = _beyond(_size(record, "objects"), walked, used)
    return (
        f"{text}{human_bytes(objects)} are Python objects of over 512 bytes each, "
        f"{human_bytes(used - objects)} are native memory or lost to rounding",
        "liveheap histogram says which objects are large",
    )


def doubts(record: Record) -> list[str]:
    """Return what could not be told, in words."""
    found = []
    if not is_glibc(record):
        found.append(
            f"unknown allocator: malloc is {malloc_name(record)}, so what it has given "
            "out and what it keeps are not told apart"
        )
    elif not record.get("malloc_known"):
        found.append(
            "malloc's heap could not be read through: what is free in it counts as used"
        )
    if not has_pools(record):
        name = record.get("python_allocator") or "another allocator"
        found.append(
            f"PYTHONMALLOC: Python's objects come from {name}, and no part is theirs "
            "alone"
        )
    if record.get("python_allocator") == "pymalloc_debug":
        found.append(
            "PYTHONMALLOC=debug: objects count with the debug bytes around each"
        )
    if record.get("cut_short"):
        found.append("there was no time for all of it: the rest is in other memory")
    return found


def is_glibc(record: Record) -> bool:
    """Tell whether malloc could be looked into."""
    return record.get("glibc") is not None


def has_pools(record: Record) -> bool:
    """Tell whether Python's small objects come from its own allocator."""
    return _size(record, "n_pools") > 0


def malloc_name(record: Record) -> str:
    """Return what file malloc is in."""
    return str(record.get("malloc") or "none that is known")


def _share(record: Record, part: str, other: str) -> float:
    whole = _size(record, part) + _size(record, other)
    return 100 * _size(record, part) / max(whole, 1)


def _size(record: Record, name: str) -> int:
    value = record.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
