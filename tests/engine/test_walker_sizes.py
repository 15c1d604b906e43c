"""Shallow sizes are the bytes an object holds: sys.getsizeof plus inline values."""

import array
import collections
import enum
import sys
from collections.abc import Iterator

import pytest
import stream
import walks

HEAP_TYPE = 1 << 9  # of tp_flags
HAS_INLINE_VALUES = sys.version_info >= (3, 11)


class Guessing:
    def __sizeof__(self):
        raise AssertionError("__sizeof__ of a Python class was called")


class Colour(enum.IntEnum):
    RED = 1


class WithValues:
    def __init__(self):
        self.a = self.b = self.c = None


SAMPLES = [
    *(0, 1, -1, 2**30, 2**60, -(2**90), True, 1.5, 1j, None, ...),
    *("", "a", "ä", "abc" * 100, "€uro", "\U0001f600", b"", b"bytes", bytearray(100)),
    *([], [1], [1] * 1000, (), (1,), tuple(range(100))),
    *({}, {1: 2}, {"a": 1}, {str(i): i for i in range(1000)}),
    *({i: i for i in range(1000)}, set(), {1}, set(range(1000)), frozenset(range(50))),
    *(
        collections.deque([1, 2]),
        collections.OrderedDict(a=1),
        collections.Counter("ab"),
    ),
    *(collections.defaultdict(list, a=[]), array.array("d", [1.0] * 100)),
    *(len, print, sys, object(), WithValues, slice(1), range(5)),
    *(memoryview(b"abc"), lambda: 0, property(), (lambda: 0).__code__, iter([])),
    *(Exception("x"), staticmethod(len), [].append, str.join, int.real),
]


VALUES = WithValues()
GUESSED = Guessing()


@pytest.fixture(scope="module")
def heap() -> Iterator[walks.Comparison]:
    comparison = walks.Comparison()
    yield comparison
    comparison.tracked.clear()


@pytest.fixture(scope="module")
def graph(heap: walks.Comparison) -> stream.Graph:
    return heap.graph


def is_comparable(obj: object, node: stream.Node) -> bool:
    """Whether getsizeof is exact: see sizes.c. Types of ctypes need a closer look."""
    if isinstance(obj, type) and not obj.__flags__ & HEAP_TYPE:
        return False
    if type(obj) not in {int, bool} and isinstance(obj, int):
        return False
    if type(obj).__name__.startswith("PyC"):
        return False
    return not any(name == "__dict__" for _, name in node.type.fields)


def test_sizes_of_known_objects_equal_getsizeof(graph):
    for sample in SAMPLES:
        node = graph.nodes[id(sample)]
        size = sys.getsizeof(sample)
        if is_comparable(sample, node):
            assert node.size == size, f"{type(sample)} {sample!r:.60}"
        else:
            assert node.size >= size, f"{type(sample)} {sample!r:.60}"


def test_sizes_of_the_whole_heap_equal_getsizeof(heap, graph):
    borrowed = {
        node.named("__dict__")
        for node in graph.nodes.values()
        if sys.version_info >= (3, 13)
    }
    wrong = collections.Counter()
    for obj, size, _ in heap:
        node = graph.nodes[id(obj)]
        if id(obj) in borrowed or not is_comparable(obj, node):
            continue
        if node.size != size:
            wrong[f"{type(obj)} {size} {node.size}"] += 1
    assert not wrong


def test_inline_values_are_counted(graph):
    node = graph.nodes[id(VALUES)]
    size = sys.getsizeof(VALUES)
    assert node.size >= size + (3 * 8 if HAS_INLINE_VALUES else 0)


def test_a_sizeof_in_python_is_never_called(graph):
    assert graph.nodes[id(GUESSED)].size >= 16


def test_members_of_a_subclass_of_int_are_counted(graph):
    assert graph.nodes[id(Colour.RED)].size >= sys.getsizeof(Colour.RED)
