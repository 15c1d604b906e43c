"""Shallow sizes are the bytes an object holds: sys.getsizeof plus inline values.

Types that have a __sizeof__ in C are among the samples in all their states: the walker
reads private structs instead of calling it.
"""

import _elementtree
import array
import collections
import decimal
import enum
import io
import queue
import struct
import sys
from collections.abc import Iterator

import numpy
import pytest
import stream
import walks

HEAP_TYPE = 1 << 9  # of tp_flags
HAS_INLINE_VALUES = sys.version_info >= (3, 11)


class Guessing:
    def __sizeof__(self):
        raise AssertionError("__sizeof__ of a Python class was called")


class GuessingDict(dict[int, int]):
    def __sizeof__(self):
        raise AssertionError("__sizeof__ of a subclass of dict was called")


class Text(str):
    __slots__ = ()


class Longer(str):
    def __init__(self, *_: object) -> None:
        self.a = self.b = None


class Colour(enum.IntEnum):
    RED = 1


class Meta(type):
    pass


class Made(metaclass=Meta):
    __slots__ = ("a", "b")


class Ordered(collections.OrderedDict[str, int]):
    pass


class Array(array.array):
    __slots__ = ("a",)


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
    *(bytearray(), bytearray(b"x"), Text("abc"), Text("\u20ac\U0001f600"), Made, Meta),
    *(collections.deque(), collections.deque(range(1000)), collections.OrderedDict()),
    *(collections.OrderedDict.fromkeys(range(1000)), Ordered(a=1), Array("b", b"abc")),
    *(
        array.array("h"),
        array.array("w" if sys.version_info >= (3, 13) else "u", "abc"),
    ),
    *(io.BytesIO(), io.BytesIO(b"x" * 999), io.StringIO("x"), struct.Struct("ihq4sd")),
    *(io.BufferedReader(io.BytesIO(), 77), io.BufferedWriter(io.BytesIO(), 77)),
    *(
        io.BufferedRandom(io.BytesIO(), 77),
        io.BufferedRWPair(io.BytesIO(), io.BytesIO()),
    ),
    *(decimal.Decimal("1.5"), decimal.Decimal("1" * 400), decimal.Decimal("NaN")),
    *(_elementtree.Element("a"), queue.SimpleQueue(), numpy.zeros((3, 5, 7))),
    *(numpy.zeros((3, 5), order="F"), numpy.zeros((9, 9))[1:, ::2], numpy.zeros(0)),
    *(numpy.zeros((1, 1, 9)), numpy.array([[1], [2]], dtype=object)),
]


def written() -> io.BytesIO:
    """A BytesIO whose buffer is longer than its text."""
    stream = io.BytesIO()
    for _ in range(99):
        stream.write(b"line\n")
    return stream


def closed() -> io.BufferedReader:
    """A BufferedReader that has given its buffer back."""
    reader = io.BufferedReader(io.BytesIO(), 77)
    reader.close()
    return reader


def popped() -> "collections.deque[int]":
    """A deque that begins in the middle of a block."""
    items = collections.deque(range(500))
    for _ in range(100):
        items.popleft()
    return items


def filled() -> "queue.SimpleQueue[int]":
    """A queue whose ring has grown."""
    items: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(100):
        items.put(number)
    return items


def tree(children: int) -> _elementtree.Element:
    """An Element with children, inside itself or in a block of their own."""
    element = _elementtree.Element("a", {"b": "c"})
    for _ in range(children):
        _elementtree.SubElement(element, "child")
    return element


def generate(first: int, second: int) -> Iterator[int]:
    yield first + second


async def await_nothing(one: object) -> object:
    return one


async def generate_asynchronously(one: object) -> object:
    yield one


def used_up() -> Iterator[int]:
    """A generator that has ended."""
    generator = generate(1, 2)
    list(generator)
    return generator


COROUTINE = await_nothing(1)
COROUTINE.close()  # or it complains when it goes
SAMPLES += [
    *(written(), closed(), popped(), filled(), tree(3), tree(9), generate(1, 2)),
    *(used_up(), generate(3, 4).gi_frame, COROUTINE, generate_asynchronously(5)),
    *(generate.__code__, compile("def f(): return [f, g]", "", "exec")),
]


VALUES = WithValues()
GUESSED = Guessing()
GUESSED_DICT = GuessingDict.fromkeys(range(999), 0)
LONGER = Longer("text")
WRITTEN = io.StringIO()
for number in range(100):
    WRITTEN.write(f"{number:999} ")
SOUGHT = io.StringIO("x" * 50_000)
SOUGHT.seek(0)
TEXTS = (WRITTEN, SOUGHT)  # tracked, hence in the heap that is compared


@pytest.fixture(scope="module")
def heap() -> Iterator[walks.Comparison]:
    comparison = walks.Comparison()
    yield comparison
    comparison.tracked.clear()


@pytest.fixture(scope="module")
def graph(heap: walks.Comparison) -> stream.Graph:
    return heap.graph


def is_comparable(obj: object, node: stream.Node) -> bool:
    """Whether getsizeof is exact: see sizes.c. What ctypes knows of its
    types, a format among it, is not counted."""
    if isinstance(obj, type) and not obj.__flags__ & HEAP_TYPE:
        return False
    if type(obj) not in {int, bool, str, Text} and isinstance(obj, int | str):
        return False
    if type(obj).__name__.startswith(("PyC", "StgDict")):
        return False
    if isinstance(obj, io.StringIO):
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
    borrowed = graph.owners_of_dicts() if sys.version_info >= (3, 13) else {}
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
    assert graph.nodes[id(GUESSED_DICT)].size > sys.getsizeof(dict(GUESSED_DICT))


def test_members_of_a_subclass_of_str_are_counted(graph):
    members = Longer.__basicsize__ - str.__basicsize__
    assert graph.nodes[id(LONGER)].size >= sys.getsizeof(LONGER) + members


def test_members_of_a_subclass_of_int_are_counted(graph):
    assert graph.nodes[id(Colour.RED)].size >= sys.getsizeof(Colour.RED)


def test_what_is_written_to_a_stringio_is_counted(graph):
    size = graph.nodes[id(WRITTEN)].size
    lists = [graph.nodes[id(WRITTEN)].named(name) for name in ("pieces", "long pieces")]
    for pieces in filter(None, lists):  # before 3.12; since then in one str, uncounted
        size += sum(graph.nodes[text].size for text in graph.nodes[pieces].targets())
    assert 100_000 <= size <= 200_000


def test_a_stringio_that_was_sought_takes_four_bytes_a_character(graph):
    assert 200_000 <= graph.nodes[id(SOUGHT)].size <= 201_000
