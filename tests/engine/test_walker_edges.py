"""Every reference that the interpreter's own tp_traverse shows is an edge of ours."""

import collections
import functools
import gc
import sys
import types
import weakref
from collections.abc import Callable, Iterator

import pytest
import stream
import walks


class Plain:
    def __init__(self, value):
        self.first = value
        self.second = [value]


class Slotted:
    __slots__ = ("__weakref__", "left", "right")

    def __init__(self, left):
        self.left = left


class SlottedChild(Slotted):
    __slots__ = ("extra",)


class Both(Slotted):
    """Slots and a dict."""


class DictChild(dict):
    pass


class ListChild(list):
    __slots__ = ("note",)


class TupleChild(tuple):
    pass


class SetChild(set):
    pass


class Failure(Exception):
    pass


def make_samples():
    """One of each kind that the walker reads in a way of its own."""
    marker = object()
    slotted = SlottedChild([1])
    slotted.extra = {}
    both = Both([2])
    both.attribute = []
    listed = ListChild([[], []])
    listed.note = [3]
    dicted = DictChild(a=[1], b=[2])
    dicted.attribute = [4]
    tupled = TupleChild(([], marker))
    tupled.attribute = [5]
    materialised = Plain([6])
    materialised.__dict__  # noqa: B018  making the dict is the point
    failure = Failure([7], marker)
    failure.note = [8]
    generator = (lambda x: (yield x))([9])  # noqa: PLC3002  a frame with a local
    next(generator)

    def function(argument=[10], *, keyword=[11]):  # noqa: B006  held by the function
        return marker, argument, keyword

    return [
        *(marker, slotted, both, listed, dicted, tupled, materialised, failure),
        *(generator, function, Plain([12]), SetChild([(13,), marker])),
        collections.defaultdict(list, a=[1], b=[2]),
        collections.OrderedDict(a=[1], b=[2]),
        collections.Counter(a=1, b=2),
        collections.deque([[1], [2], marker]),
        functools.partial(print, [1], end=[2]),
        types.MappingProxyType({"a": []}),
        types.SimpleNamespace(a=[1]),
        weakref.ref(slotted, lambda _: None),
        {(1, 2): [1], marker: [2]},
        {"text": [1]},
        {1, marker},
        frozenset([marker, (1, [].__len__)]),
        iter([[1]]),
        slotted.__init__,
        [].append,
        property(print, print, None, "doc"),
        staticmethod(function),
        classmethod(function),
        sys.implementation,
        Plain,
        SlottedChild,
        list[int],
        slice([1], [2], [3]),
        memoryview(b"bytes"),
    ]


SAMPLES = make_samples()
BIG_LIST = [[i] for i in range(50_000)]
SPLIT = [Plain([i]) for i in range(10)]
for _each in SPLIT:
    vars(_each)


def make_big(kind: type, make_key: Callable[[int], object]) -> dict:
    made = kind()
    for i in range(10_000):
        made[make_key(i)] = [i]
    return made


KEYS = {"str": str, "tuple": lambda i: (i,), "int": lambda i: i + 1000}
BIG_DICTS = {
    (kind, key): make_big(kind, KEYS[key])
    for kind in (dict, DictChild, collections.defaultdict)
    for key in KEYS
}


@pytest.fixture(scope="module")
def heap() -> Iterator[walks.Comparison]:
    comparison = walks.Comparison()
    yield comparison
    comparison.tracked.clear()


@pytest.fixture(scope="module")
def graph(heap: walks.Comparison) -> stream.Graph:
    return heap.graph


@pytest.fixture(scope="module")
def in_edges(graph: stream.Graph) -> collections.Counter:
    return graph.in_edges()


def own_edges(node: stream.Node) -> collections.Counter:
    edges = collections.Counter(node.targets())
    if node.type is not None and node.type.is_heap:
        edges[node.type.address] += 1
    return edges


def referents(obj: object) -> collections.Counter:
    return collections.Counter(map(id, gc.get_referents(obj)))


def dict_of(node: stream.Node, graph: stream.Graph) -> stream.Node | None:
    """The node of an instance's dict, if it has one."""
    address = node.named("__dict__")
    return None if address is None else graph.nodes[address]


def test_every_sample_shows_what_gc_shows(graph):
    for sample in SAMPLES:
        node = graph.nodes[id(sample)]
        edges = own_edges(node)
        attributes = dict_of(node, graph)
        if attributes is not None and not attributes.edges:
            # From 3.13 on a dict may borrow its values from the instance, and which of
            # the two shows them differs between versions: take both together.
            edges += referents(vars(sample))
        assert not referents(sample) - edges, f"{type(sample)}: {sample!r:.80}"


def test_no_reference_is_given_twice(graph):
    builtin = {list, tuple, set, frozenset, collections.deque}
    checked = 0
    for sample in SAMPLES:
        node = graph.nodes[id(sample)]
        ours = type(sample) in builtin or type(sample).__module__ == __name__
        if not ours or isinstance(sample, dict | Exception) or dict_of(node, graph):
            continue
        assert own_edges(node) == referents(sample), repr(sample)[:80]
        checked += 1
    assert checked >= 5


@pytest.mark.parametrize("kind", [dict, DictChild, collections.defaultdict])
@pytest.mark.parametrize("key", KEYS)
def test_each_key_and_value_of_a_dict_is_an_edge_once(graph, kind, key):
    sample = BIG_DICTS[kind, key]
    node = graph.nodes[id(sample)]
    keys = [edge.target for edge in node.edges if edge.kind == "key"]
    values = [edge.target for edge in node.edges if edge.kind == "value"]
    assert keys == list(map(id, sample))
    assert values == list(map(id, sample.values()))
    assert len(node.edges) == len(keys) + len(values)
    assert all(address in graph.nodes for address in keys + values)


def test_a_big_list_keeps_its_order(graph):
    node = graph.nodes[id(BIG_LIST)]
    assert [edge.target for edge in node.edges] == list(map(id, BIG_LIST))
    assert [edge.name for edge in node.edges] == list(range(len(BIG_LIST)))


def test_an_attribute_and_the_dict_that_shares_it_count_once(graph, in_edges):
    for each in SPLIT:
        address = id(each.second)
        assert in_edges[address] == graph.nodes[address].refcount


def test_the_whole_heap_agrees_with_the_collector(heap, graph):
    dicts = graph.owners_of_dicts()
    interned = {
        address
        for root in graph.roots
        if root.kind == "interned"
        for address in root.named("interned")
    }
    wrong = collections.Counter()
    for obj, _, shown in heap:
        node = graph.nodes.get(id(obj))
        if node is None:
            wrong[f"no node: {type(obj)}"] += 1
            continue
        edges = own_edges(node)
        if id(obj) in dicts and not node.edges:
            edges += own_edges(dicts[id(obj)])
        if shown - edges and id(obj) not in interned:
            wrong[str(type(obj))] += 1
    assert not wrong


def test_every_edge_leads_to_a_node(graph, in_edges):
    assert not set(in_edges) - set(graph.nodes)


def test_the_end_counts_what_was_written(graph):
    nodes, edges, size = graph.end
    assert nodes == len(graph.nodes)
    assert size == sum(node.size for node in graph.nodes.values())
    assert edges == len(graph.targets) + sum(len(root.names) for root in graph.roots)


def test_reference_counts_are_explained(graph, in_edges):
    """The issue's target, over the objects that can die."""
    target = 0.985 if sys.version_info >= (3, 12) else 0.975
    mortal = [
        node
        for node in graph.nodes.values()
        if node.type is not None and 0 < node.refcount < 1 << 28
    ]
    explained = sum(node.refcount == in_edges[node.address] for node in mortal)
    assert explained / len(mortal) >= target
