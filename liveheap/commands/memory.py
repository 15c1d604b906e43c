"""`memory`: where resident memory goes, and which files are open.

Read from outside the interpreter (`csrc/residence.h`): neither the GIL nor a lock of
malloc is taken for it, and the kernel's lock of the process for 2 MiB at a time. Where
that way is barred the kernel is asked for smaps, and whoever maps or unmaps memory
meanwhile waits, 20 ms for a mapping of 1 GB.

`trim_seconds` foretells the stop of a `trim`: 0.4 us for every free piece and 1.2 us
for every page given back, measured on 2 GB of blocks of 1 to 12 KB of which half were
freed, and on 2 GB in one piece (0.2 to 0.8 s).
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from typing import Any

from liveheap.commands.base import Command, Piece, Step
from liveheap.commands.context import Context
from liveheap.protocol.auth import Scope
from liveheap.protocol.results import Record, Value

LONGEST_S = 20.0
LONGEST_COUNT_S = 0.5

# Resident bytes that add up to `rss`.
PARTS = (
    "objects",
    "pool_free",
    "pool_overhead",
    "malloc_used",
    "malloc_free",
    "malloc_mapped",
    "anonymous",
    "stacks",
    "main_stack",
    "shared",
    "files",
    "relocations",
)
# Of these, or beside them.
BYTES = ("exclusive", "inherited", "swapped", "trimmable", "arenas")
COUNTS = ("n_mappings", "n_pools", "n_arenas", "n_stacks", "n_free_chunks")
WHO = (("pid", "count"), ("start_time", "count"), ("instance", "text"))

PAGE = 4096
S_PER_PIECE = 0.4e-6
S_PER_PAGE = 1.2e-6

Fields = list[tuple[str, str, Value]]


def run(ctx: Context) -> Generator[Step | Piece, None, Record]:
    """Show where the worker's resident memory goes.

    Python's objects, what its allocator and malloc keep free, mapped files, stacks,
    shared memory, and the open files by kind. It runs beside the worker, half a second
    of another core per GB, and stops nobody.
    """
    yield Step("memory")
    began = time.monotonic()
    facts, allocators = ctx.facts(), ctx.heap.allocators
    names, found = allocators.names(), allocators.residence(LONGEST_S)
    fields: Fields = [(name, unit, facts[name]) for name, unit in WHO]
    fields += [("program", "text", facts["program"]), ("created", "time", time.time())]
    fields += [(name, "bytes", found[name]) for name in ("rss", *PARTS, *BYTES)]
    fields += [(name, "count", found[name]) for name in COUNTS]
    fields += [
        ("trim_seconds", "seconds", trim_seconds(found)),
        ("malloc_known", "bool", found["malloc_known"]),
        ("cut_short", "bool", found["cut_short"]),
        ("python_allocator", "text", names["python"]),
        ("glibc", "text", names["glibc"]),
        ("malloc", "text", names["malloc"]),
    ]
    fields += descriptor_fields(allocators.descriptors(LONGEST_COUNT_S))
    fields.append(("seconds", "seconds", time.monotonic() - began))
    return Record(tuple(fields))


def trim_seconds(found: Mapping[str, Any]) -> float:
    """Return for how long a trim may keep somebody waiting for malloc."""
    pages = found["trimmable"] / PAGE
    return float(found["n_free_chunks"] * S_PER_PIECE + pages * S_PER_PAGE)


def descriptor_fields(found: Mapping[str, Any]) -> Fields:
    """Return what is said of open files, as fields of a record."""
    return [
        ("descriptors", "count", found["n"]),
        ("descriptors_cut_short", "bool", found["cut_short"]),
        ("descriptor_kinds", "list", [[*pair] for pair in found["kinds"].items()]),
        ("local_ports", "list", [[*pair] for pair in found["local_ports"]]),
        ("remote_ports", "list", [[*pair] for pair in found["remote_ports"]]),
    ]


MEMORY = Command(
    name="memory",
    scope=Scope.READ,
    heavy=False,
    help=run.__doc__ or "",
    params=(),
    run=run,
)
