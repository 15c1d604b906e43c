"""What the tests of resident memory ask, and how they compare two answers."""

from typing import Any

from liveheap import _heap

MB = 1_000_000
PARTS = (
    *("objects", "pool_free", "pool_overhead"),
    *("malloc_used", "malloc_free", "malloc_mapped"),
    *("anonymous", "stacks", "main_stack", "shared", "files", "relocations"),
)


def look() -> dict[str, Any]:
    return _heap.residence(10.0)


def gained(before: dict[str, Any], after: dict[str, Any]) -> dict[str, float]:
    """Return by how many MB each part grew, those that hardly did left out."""
    grown = {name: (after[name] - before[name]) / MB for name in PARTS}
    return {name: size for name, size in grown.items() if abs(size) > 0.6}
