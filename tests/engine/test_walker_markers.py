"""Every place where an object can hide: planted, found, and named.

One walk in a clone looks at all of them. The markers of frames are named by function,
line and local; the others by attribute, slot, index, dict key or cell.
"""

import asyncio
import collections
import functools
import gc
import inspect
import sys
import threading
from collections.abc import Iterator

import gevent
import gevent.event
import greenlet
import numpy
import pytest
import stream
import walks

from liveheap import _heap


class Marker:
    """A planted object."""

    def __init__(self, name: str) -> None:
        self.name = name


MARKERS: dict[str, Marker] = {}
LINES: dict[str, int] = {}


def plant(name: str) -> Marker:
    """Make a marker and note the line it was planted on."""
    caller = inspect.currentframe().f_back
    LINES[name] = caller.f_lineno
    MARKERS[name] = marker = Marker(name)
    return marker


class Attributes:
    def __init__(self):
        self.attribute = plant("inline value")


class WithDict:
    pass


class Slots:
    __slots__ = ("slot",)

    def __init__(self):
        self.slot = plant("slot")


def closing():
    captured = plant("closure cell")
    return lambda: captured


def default_argument(argument=plant("default argument")):  # noqa: B008
    return argument


def generating():
    generator_local = plant("generator frame")
    yield generator_local


async def awaiting():
    coroutine_local = plant("coroutine frame")
    await asyncio.sleep(0)
    return coroutine_local


async def async_generating():
    async_local = plant("asynchronous generator frame")
    yield async_local


def failing():
    traceback_local = plant("frame of a traceback")
    raise RuntimeError(traceback_local)


class Places:
    """Holds what is planted in objects."""

    def __init__(self):
        self.attributes = Attributes()
        self.materialised = WithDict()
        self.materialised.__dict__ = {"from_dict": plant("dict of an instance")}
        self.slots = Slots()
        self.closure = closing()
        self.partial = functools.partial(print, plant("partial argument"))
        self.array = numpy.empty(10, dtype=object)
        self.array[3] = plant("object array")
        self.untracked_tuple = (1, "text", b"bytes")
        self.untracked_dict = {"number": 1}
        self.key = {"key-" * 2: 1}
        self.in_list = [1, 2, plant("list")]
        self.in_deque = collections.deque([1, plant("deque")])
        self.by_key = {"constant_key": plant("dict value")}
        self.generator = generating()
        next(self.generator)
        self.coroutine = awaiting()
        self.coroutine.send(None)
        self.async_generator = async_generating()
        with pytest.raises(StopIteration):
            self.async_generator.__anext__().send(None)
        try:
            failing()
        except RuntimeError as error:
            self.error = error
        if sys.version_info >= (3, 15):
            self.frozendict = frozendict(key=plant("frozendict"))  # noqa: F821


PLACES = Places()
FROZEN = [plant("frozen generation")]


class Held:
    """Threads and greenlets that stand still, deep in calls."""

    def __init__(self):
        self.released = threading.Event()
        self.standing = threading.Semaphore(0)
        self.wakeup = gevent.event.Event()

    def thread(self):
        thread_local = plant("thread frame")
        sorted([1], key=self.below_c)
        return thread_local

    def below_c(self, _):
        below_c_local = plant("thread frame below a C call")
        self.standing.release()
        self.released.wait()
        return below_c_local

    def greenlet_top(self):
        top_local = plant("greenlet, outermost frame")
        self.greenlet_middle()
        return top_local

    def greenlet_middle(self):
        middle_local = plant("greenlet, middle frame")
        sorted([1], key=lambda _: self.greenlet_inner())
        return middle_local

    def greenlet_inner(self):
        inner_local = plant("greenlet, below a C call")
        self.wakeup.wait()
        return inner_local

    def bare_greenlet(self):
        bare_local = plant("bare greenlet")
        greenlet.getcurrent().parent.switch()
        return bare_local


@pytest.fixture(scope="module")
def graph() -> Iterator[stream.Graph]:
    held = Held()
    thread = threading.Thread(target=held.thread, daemon=True)
    thread.start()
    held.standing.acquire()
    spawned = gevent.spawn(held.greenlet_top)
    gevent.sleep(0)
    bare = greenlet.greenlet(held.bare_greenlet)
    bare.switch()
    gc.freeze()
    young_local = [plant("young object")]
    try:
        decoded = walks.graph_child(own_threads=[thread.native_id])
    finally:
        gc.unfreeze()
        held.released.set()
        thread.join()
        held.wakeup.set()
        gevent.joinall([spawned])
        bare.switch()
    assert young_local
    return decoded


def test_every_marker_is_found(graph):
    missing = [
        name for name, marker in MARKERS.items() if id(marker) not in graph.nodes
    ]
    assert not missing
    assert len(MARKERS) >= 22


IN_OBJECTS = {
    "inline value": "Attributes.attribute",
    "slot": "Slots.slot",
    "closure cell": "cell.cell_contents",
    "object array": "ndarray.3",
    "list": "list.2",
    "deque": "deque.1",
    "dict value": "dict.constant_key",
    "dict of an instance": "dict.from_dict",
    "default argument": "tuple.0",
    "partial argument": "tuple.0",
    "frozen generation": "list.0",
}


@pytest.mark.parametrize("name", IN_OBJECTS)
def test_what_holds_a_marker_names_it(graph, name):
    wanted = IN_OBJECTS[name]
    if name == "inline value" and sys.version_info < (3, 11):
        wanted = "dict.attribute"
    assert wanted in walks.reaches(graph, id(MARKERS[name]))


@pytest.mark.parametrize(
    ("holder", "field", "name"),
    [
        ("function", "__defaults__", "default argument"),
        ("partial", "args", "partial argument"),
    ],
)
def test_what_c_structs_hold_is_named(graph, holder, field, name):
    tuples = [
        node.address for node, _ in graph.referrers(id(MARKERS[name])) if node.type
    ]
    assert any(f"{holder}.{field}" in walks.reaches(graph, each) for each in tuples)


def test_untracked_containers_and_dict_keys_are_found(graph):
    for container in (PLACES.untracked_tuple, PLACES.untracked_dict):
        assert id(container) in graph.nodes
        for item in container:
            assert id(item) in graph.nodes
    assert "dict.None" in walks.reaches(graph, id(next(iter(PLACES.key))))


IN_FRAMES = {
    "generator frame": ("generating", "generator_local", "generator"),
    "coroutine frame": ("awaiting", "coroutine_local", "coroutine"),
    "asynchronous generator frame": (
        "async_generating",
        "async_local",
        "async_generator",
    ),
    "frame of a traceback": ("failing", "traceback_local", "frame"),
    "thread frame": ("Held.thread", "thread_local", None),
    "thread frame below a C call": ("Held.below_c", "below_c_local", None),
    "greenlet, outermost frame": ("Held.greenlet_top", "top_local", None),
    "greenlet, middle frame": ("Held.greenlet_middle", "middle_local", None),
    "greenlet, below a C call": ("Held.greenlet_inner", "inner_local", None),
    "bare greenlet": ("Held.bare_greenlet", "bare_local", None),
}


def frame_of(graph: stream.Graph, name: str) -> tuple[stream.Node, str]:
    """The frame in which a marker is a local, and the local's name."""
    found = [
        (node, str(edge.name))
        for node, edge in graph.referrers(id(MARKERS[name]))
        if edge.kind in {"local", "borrowed"} and edge.name == IN_FRAMES[name][1]
    ]
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize("name", IN_FRAMES)
def test_a_local_is_named_by_function_line_and_name(graph, name):
    function, local, kind = IN_FRAMES[name]
    node, found = frame_of(graph, name)
    code = graph.codes[node.code]
    wanted = function if sys.version_info >= (3, 11) else function.split(".")[-1]
    assert (code.name, found) == (wanted, local)
    assert code.file == __file__
    assert LINES[name] <= node.line <= LINES[name] + 3
    if sys.version_info < (3, 11):
        kind = "frame"
    assert (node.type and node.type.name) == kind


def chain_of(graph: stream.Graph, name: str) -> tuple[stream.Root, list[str]]:
    """The root that runs a marker's frame, and its functions, innermost first."""
    address = frame_of(graph, name)[0].address
    roots = [root for root in graph.roots if address in root.named("frame")]
    assert len(roots) == 1
    frames = [graph.nodes[target] for target in roots[0].named("frame")]
    names = [graph.codes[frame.code].name or "" for frame in frames]
    return roots[0], [each.split(".")[-1] for each in names]


def test_a_threads_frames_hang_below_it_innermost_first(graph):
    root, names = chain_of(graph, "thread frame")
    assert root.kind == "thread"
    below_c, thread = names.index("below_c"), names.index("thread")
    assert below_c < thread < names.index("run")
    if sys.version_info >= (3, 11):
        assert root.flags == 2
        assert root.number > 0


def test_the_main_thread_is_marked(graph):
    main = [root for root in graph.roots if root.kind == "thread" and root.flags & 1]
    assert len(main) == 1
    frames = [graph.nodes[target] for target in main[0].named("frame")]
    names = [graph.codes[frame.code].name or "" for frame in frames]
    assert "raw_child" in names


def test_a_greenlets_frames_hang_below_it_innermost_first(graph):
    root, names = chain_of(graph, "greenlet, outermost frame")
    assert root.kind == "greenlet"
    wanted = ["greenlet_inner", "<lambda>", "greenlet_middle", "greenlet_top"]
    at = names.index("greenlet_inner")
    assert names[at : at + 4] == wanted
    (address,) = root.named("greenlet")
    assert graph.nodes[address].type.name == "Greenlet"


def test_each_local_of_a_greenlet_counts_once(graph):
    in_edges = graph.in_edges()
    for name in IN_FRAMES:
        marker = graph.nodes[id(MARKERS[name])]
        assert in_edges[marker.address] == marker.refcount, name


def test_a_walk_in_the_process_says_that_it_hides_greenlets():
    waiting = greenlet.greenlet(greenlet.getcurrent().switch)
    waiting.switch()
    decoded = walks.graph_here()
    assert "greenlets-hidden" in decoded.warnings
    assert id(waiting) in decoded.nodes
    waiting.switch()


def test_a_histogram_counts_what_the_graph_holds(graph):
    raw = walks.decode(walks.raw_child("histogram"))
    (number,) = [
        number
        for number, record in raw.types.items()
        if (record.module, record.name) == (Marker.__module__, "Marker")
    ]
    count, size = raw.counts[number]
    assert count == len(MARKERS)
    ours = [
        node
        for node in graph.of_type("Marker")
        if node.type.module == Marker.__module__
    ]
    assert size == sum(node.size for node in ours)
    assert raw.end[0] == sum(count for count, _ in raw.counts.values())
    assert raw.end[2] == sum(size for _, size in raw.counts.values())


def test_roots_name_the_state_of_the_interpreter(graph):
    (root,) = [root for root in graph.roots if root.kind == "interpreter"]
    assert root.named("modules") == [id(sys.modules)]
    assert root.named("sys") == [id(vars(sys))]
    assert root.named("builtins")


def test_walking_leaves_no_trace_in_the_worker():
    counts = [0, 0]
    gc.collect()
    counts[0] = len(gc.get_objects())
    _heap.walk_here(-1, "graph")
    _heap.walk_here(-1, "histogram")
    counts[1] = len(gc.get_objects())
    assert counts[0] == counts[1]
    assert gc.isenabled()
