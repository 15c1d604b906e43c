"""Objects that no list and no reference leads to are found in the allocator's pools.

A reference taken here through ctypes and never given back is what a faulty extension
does. Under PYTHONMALLOC=malloc there are no pools, and nothing to find.
"""

import ctypes
import gc
import mmap
import os
import struct
from dataclasses import dataclass

import pytest
import stream
import walks

from liveheap import _heap

N = 700
take = ctypes.pythonapi.Py_IncRef
take.argtypes = [ctypes.py_object]
take.restype = None
give_back = ctypes.pythonapi.Py_DecRef
give_back.argtypes = [ctypes.py_object]
give_back.restype = None

pytestmark = pytest.mark.skipif(
    os.environ.get("PYTHONMALLOC", "pymalloc") != "pymalloc",
    reason="needs pymalloc",
)


def leaked_tuple(number):
    """Return what the collector drops from its lists at its first look."""
    return (float(number), f"in a tuple {number}")


MAKERS = [
    ("str", lambda number: f"leaked {number}"),
    ("str", lambda number: f"größer {number}"),
    ("bytes", lambda number: b"leaked %d" % number),
    ("int", lambda number: number + 10**30),
    ("float", lambda number: number + 0.5),
    ("tuple", leaked_tuple),
]


def leak(make):
    """Keep N objects by their counts alone, and return their addresses."""
    addresses = []
    for number in range(N):
        obj = make(number)
        take(obj)
        addresses.append(id(obj))
        del obj
    return addresses


def release(addresses):
    for address in addresses:
        give_back(ctypes.cast(address, ctypes.py_object).value)


@dataclass
class Leaked:
    """Two walks: before, and when all kinds are leaked and some str are freed."""

    before: stream.Graph
    graph: stream.Graph
    addresses: list[list[int]]
    freed: list[int]


@pytest.fixture(scope="module")
def leaked():
    before = walks.graph_child()
    addresses = [leak(make) for _, make in MAKERS]
    freed = leak(lambda number: f"freed {number}")
    release(freed)
    graph = walks.graph_child(hash_key=bytes(16))
    yield Leaked(before, graph, addresses, freed)
    for some in addresses:
        release(some)


def test_what_only_a_leaked_reference_keeps_is_in_the_graph(leaked):
    nodes = leaked.graph.nodes
    for (kind, _), addresses in zip(MAKERS, leaked.addresses, strict=True):
        found = [nodes.get(address) for address in addresses]
        assert all(found), kind
        assert {node.type.name for node in found} == {kind}
        assert {node.refcount for node in found} == {1}


@pytest.mark.parametrize(("place", "kind"), [(0, 1), (1, 1), (2, 2)])
def test_contents_of_what_was_found_are_hashed_like_others(leaked, place, kind):
    make = MAKERS[place][1]
    twins = [make(number) for number in range(N)]
    hashes = [leaked.graph.hashes[address] for address in leaked.addresses[place]]
    assert [each[:2] for each in hashes] == [(kind, len(twin)) for twin in twins]
    assert len(set(hashes)) == N


def tuple_parts(leaked, address):
    return leaked.graph.nodes[address].targets()


def test_nothing_refers_to_it_but_it_refers(leaked):
    parts = {part for one in leaked.addresses[-1] for part in tuple_parts(leaked, one)}
    every = set().union(*leaked.addresses)
    assert not every & set(leaked.graph.targets)
    assert len(parts) == 2 * N


def count_alone(graph, leaked):
    """Count what no object and no root refers to, but for what is leaked here.

    Not zero: C code keeps constants in its own variables.
    """
    known = set(graph.targets).union(*leaked.addresses)
    for root in graph.roots:
        known.update(root.targets)
    alone = [graph.nodes[address].type for address in set(graph.nodes) - known]
    return sum(
        kind is not None and kind.name in {"str", "bytes", "int", "float"}
        for kind in alone
    )


def test_nearly_nothing_else_is_without_a_referrer(leaked):
    gained = count_alone(leaked.graph, leaked) - count_alone(leaked.before, leaked)
    assert gained < 50


def test_blocks_given_out_and_free_ones_are_what_the_allocator_says():
    gc.collect()
    rows = [f"row {number}" for number in range(50_000)]
    full = walks.status_of_child()
    del rows[::2], rows[::2]
    thinned = walks.status_of_child()
    del rows
    assert full["pool_used"] - thinned["pool_used"] == pytest.approx(
        37_500 * 64, rel=0.2
    )
    assert thinned["pool_free"] - full["pool_free"] == pytest.approx(
        37_500 * 64, rel=0.2
    )


@pytest.mark.skipif(_heap.allocators()["glibc"] is None, reason="needs glibc's malloc")
def test_the_child_reads_of_malloc_what_the_worker_reads_of_itself():
    blocks = [bytes(3000) for _ in range(1000)]
    del blocks[::2]
    child, here = walks.status_of_child(), _heap.residence(10.0)
    assert child["malloc_known"]
    for name in ("malloc_used", "malloc_free", "malloc_mapped"):
        assert child[name] == pytest.approx(here[name], rel=0.1, abs=300_000)


def test_what_was_freed_is_found_no_more(leaked):
    graph = leaked.graph
    alone = set(graph.nodes) - set(graph.targets)
    # Its memory may by now be somebody's who is alone for a reason.
    assert len(alone & set(leaked.freed)) < N // 4


MAP_NORESERVE = 0x4000
POOL_BYTES = 16384
BLOCK = 64


def imitate_pool(obj):
    """Return memory that holds a pool of blocks that are all this."""
    memory = mmap.mmap(-1, 2 * POOL_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    start = -ctypes.addressof(ctypes.c_char.from_buffer(memory)) % POOL_BYTES
    n = (POOL_BYTES - 48) // BLOCK
    numbers = (BLOCK // 16 - 1, 48 + n * BLOCK, POOL_BYTES - BLOCK)
    head = struct.pack("4Q4I", n, 0, 0, 0, 0, *numbers)
    memory[start : start + 48 + n * BLOCK] = head + n * obj.ljust(BLOCK, b"\0")
    return memory


@pytest.mark.parametrize("length", [-3, 2**61 + 3])
def test_a_tuple_of_no_possible_length_is_not_followed(length):
    with imitate_pool(struct.pack("4Qq", 0, 0, 1, id(tuple), length)):
        status = walks.status_of_child()
    assert status["code"] == "complete", status


def test_what_a_library_reserves_and_never_uses_costs_no_memory():
    try:
        reserved = mmap.mmap(
            -1,
            80 << 30,
            flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE,
        )
    except OSError:
        pytest.skip("the kernel reserves no more than there is")
    with reserved:
        status = walks.status_of_child(memory_bytes=64 << 20)
    assert status["code"] == "complete", status
