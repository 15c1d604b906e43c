"""What a round says of its process, in numbers: from the header, trailer and graph.

A header may lack any of it (FORMAT.md: readers tolerate absent keys); then it is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from liveheap_client.analysis.graph import HeapGraph


@dataclass(frozen=True, slots=True)
class RoundFacts:
    """One round, in numbers."""

    created: float | None
    pid: int | None
    start_time: int | None
    hostname: str | None
    instance: str | None
    program: str | None
    nodes: int
    edges: int
    bytes: int
    rss: int | None
    pause_ns: int | None
    garbage_bytes: int
    flags: tuple[str, ...]

    @property
    def process(self) -> tuple[object, ...]:
        """What tells this process from every other."""
        return (self.hostname, self.pid, self.start_time, self.instance)


@dataclass(frozen=True, slots=True)
class MemoryFacts:
    """Where a round's memory is; `outside` is RSS less what the graph accounts for.

    `outside_after` counts the RSS after the snapshot was sent: the first one of a
    worker costs it a MiB or two for good. `pool_used` and `pool_free` are the bytes of
    Python's small-object allocator, the others those of malloc. `kinds` are the open
    files by kind, the ports those of TCP sockets with how many have them.
    """

    rss: int | None
    graph: int
    outside: int | None
    outside_after: int | None
    descriptors: int | None
    sockets: int | None
    gc_enabled: bool | None
    full_collections: int | None
    pool_used: int | None
    pool_free: int | None
    malloc_used: int | None
    malloc_free: int | None
    malloc_mapped: int | None
    kinds: dict[str, int] | None
    local_ports: list[list[int]] | None
    remote_ports: list[list[int]] | None


def round_facts(graph: HeapGraph, garbage_bytes: int) -> RoundFacts:
    """Return the facts of the round that a graph is."""
    header, trailer = graph.header, graph.trailer
    flags = trailer.get("flags")
    return RoundFacts(
        created=_number(header, "created"),
        pid=_whole(header, "pid"),
        start_time=_whole(header, "start_time"),
        hostname=_text(header, "hostname"),
        instance=_text(header, "instance"),
        program=_text(header, "program"),
        nodes=graph.facts["nodes"],
        edges=graph.facts["edges"],
        bytes=graph.facts["bytes"],
        rss=graph.rss,
        pause_ns=_whole(trailer, "pause_ns"),
        garbage_bytes=garbage_bytes,
        flags=tuple(map(str, flags)) if isinstance(flags, list) else (),
    )


def memory_facts(graph: HeapGraph) -> MemoryFacts:
    """Return where the memory of a round is, as far as its header tells."""
    size, rss = graph.facts["bytes"], graph.rss
    given = graph.header.get("memory")
    memory = given if isinstance(given, dict) else {}
    enabled = memory.get("gc_enabled")
    after = _whole(graph.trailer, "rss_after")
    return MemoryFacts(
        rss=rss,
        graph=size,
        outside=None if rss is None else rss - size,
        outside_after=None if rss is None else max(rss, after or 0) - size,
        descriptors=_whole(memory, "descriptors"),
        sockets=_whole(memory, "sockets"),
        gc_enabled=enabled if isinstance(enabled, bool) else None,
        full_collections=_whole(memory, "full_collections"),
        pool_used=_whole(graph.trailer, "pymalloc_used"),
        pool_free=_whole(graph.trailer, "pymalloc_free"),
        malloc_used=_whole(graph.trailer, "malloc_used"),
        malloc_free=_whole(graph.trailer, "malloc_free"),
        malloc_mapped=_whole(graph.trailer, "malloc_mapped"),
        kinds=_counts(memory, "descriptor_kinds"),
        local_ports=_pairs(memory, "local_ports"),
        remote_ports=_pairs(memory, "remote_ports"),
    )


def _number(facts: Mapping[str, Any], name: str) -> float | None:
    value = facts.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


def _whole(facts: Mapping[str, Any], name: str) -> int | None:
    value = facts.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(facts: Mapping[str, Any], name: str) -> str | None:
    value = facts.get(name)
    return value if isinstance(value, str) else None


def _counts(facts: Mapping[str, Any], name: str) -> dict[str, int] | None:
    value = facts.get(name)
    if not isinstance(value, dict) or not all(map(_is_count, value.values())):
        return None
    return {str(kind): n for kind, n in value.items()}


def _pairs(facts: Mapping[str, Any], name: str) -> list[list[int]] | None:
    value = facts.get(name)
    if not isinstance(value, list):
        return None
    pairs = [pair for pair in value if isinstance(pair, list) and len(pair) == 2]
    return [pair for pair in pairs if all(map(_is_count, pair))]


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
