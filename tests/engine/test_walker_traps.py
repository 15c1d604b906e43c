"""What has been seen to go wrong in a walk, one by one."""

import collections
import errno
import gc
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
import stream
import walks

from liveheap import _heap


class Instance:
    def __init__(self):
        self.number = 1
        self.text = "text"


WALKED = [Instance() for _ in range(100)]
LEFT_ALONE = collections.deque([Instance()])
OURS = type("Made", (), {"__module__": "liveheap.agent.sample"})()
FOREIGN = type("Foreign", (), {"__module__": "liveheapish"})()


def run_alone(program: str) -> str:
    """Run a program in a process of its own; its output."""
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_a_frozen_heap_is_walked_whole():
    out = run_alone(
        """
        import gc
        from liveheap import _heap
        planted = [[i] for i in range(1000)]
        before = _heap.walk_here(-1, "graph")
        gc.disable()
        gc.freeze()
        assert len(gc.get_objects()) < 100
        after = _heap.walk_here(-1, "graph")
        print(after["listed"] - before["listed"], after["nodes"] - before["nodes"])
        """
    )
    listed, nodes = map(int, out.split())
    assert abs(listed) < 50
    assert abs(nodes) < 100


def test_no_reference_count_changes():
    out = run_alone(
        """
        import gc, sys
        from liveheap import _heap
        _heap.walk_here(-1, "graph")
        _heap.walk_here(-1, "histogram")
        held = gc.get_objects()
        held += [each for obj in held for each in gc.get_referents(obj)]
        held += [name for name in list(vars(sys)) + list(sys.modules)]
        counts = [0] * len(held)
        again = [0] * len(held)
        getrefcount = sys.getrefcount
        for i in range(len(held)):
            counts[i] = getrefcount(held[i])
        _heap.walk_here(-1, "graph")
        _heap.walk_here(-1, "histogram")
        for i in range(len(held)):
            again[i] = getrefcount(held[i])
        changed = [
            (type(held[i]).__name__, counts[i], again[i])
            for i in range(len(held))
            if counts[i] != again[i]
            and held[i] is not vars() and not isinstance(held[i], (int, type(None)))
        ]
        print(len(held), changed)
        """
    )
    number, changed = out.split(" ", 1)
    assert int(number) > 10_000
    assert changed.strip() == "[]"


def test_instances_get_no_dict_by_being_walked(graph):
    for sample in WALKED:
        dicts = [each for each in gc.get_referents(sample) if type(each) is dict]
        if sys.version_info >= (3, 11):
            assert graph.nodes[id(sample)].named("__dict__") is None
            assert not dicts


def test_a_list_nested_a_million_times_is_walked():
    nested: list = []
    for _ in range(1_000_000):
        nested = [nested]
    status = _heap.walk_here(-1, "graph")
    assert status["nodes"] > 1_000_000
    while nested:
        nested = nested.pop()


def test_a_big_dict_of_new_strings_is_walked_in_pieces():
    sample = {f"key {i}": f"value {i}" for i in range(300_000)}
    before = _heap.walk_here(-1, "graph")
    sample.clear()
    after = _heap.walk_here(-1, "graph")
    assert before["nodes"] - after["nodes"] > 599_000
    assert before["edges"] - after["edges"] > 599_000
    assert before["memory"] < 40 << 20


@pytest.fixture(scope="module")
def graph() -> stream.Graph:
    """After three walks, the last without the C code of deque."""
    walks.raw_here()
    walks.raw_here("histogram")
    return walks.graph_here(opaque_type=id(collections.deque))


def test_a_type_can_be_left_alone(graph):
    """What is done after its C code has crashed."""
    assert graph.nodes[id(LEFT_ALONE)].form == "leaf"


def test_our_own_objects_are_marked(graph):
    assert graph.nodes[id(OURS)].type.flags & 8
    assert not graph.nodes[id(FOREIGN)].type.flags & 8


def test_a_walk_during_a_collection_says_so():
    seen = []

    def callback(phase: str, _: object) -> None:
        if phase == "start" and not seen:
            seen.append(_heap.walk_here(-1, "graph")["flags"])

    gc.callbacks.append(callback)
    try:
        gc.collect()
    finally:
        gc.callbacks.remove(callback)
    assert seen[0] & 1
    assert _heap.walk_here(-1, "graph")["flags"] & 1 == 0


@pytest.mark.parametrize("kind", ["graph", "histogram"])
def test_a_full_disk_is_an_error(kind):
    message = os.strerror(errno.ENOSPC)
    raised = pytest.raises(OSError, match=message)
    with open("/dev/full", "wb", buffering=0) as full, raised:
        _heap.walk_here(full.fileno(), kind)


def test_a_closed_pipe_is_an_error():
    reading, writing = os.pipe()
    os.close(reading)
    try:
        with pytest.raises(BrokenPipeError):
            _heap.walk_here(writing, "graph")
    finally:
        os.close(writing)


def test_lack_of_memory_is_an_error():
    out = run_alone(
        """
        import errno, resource
        from liveheap import _heap
        keep = [[str(i)] for i in range(300_000)]
        used = int(open("/proc/self/statm").read().split()[0]) * 4096
        complete = failed = 0
        for extra in range(0, 36 << 20, 3 << 19):
            limits = used + extra, resource.RLIM_INFINITY
            resource.setrlimit(resource.RLIMIT_AS, limits)
            try:
                _heap.walk_here(-1, "graph")
                complete += 1
            except OSError as error:
                assert error.errno == errno.ENOMEM
                failed += 1
        print(complete, failed)
        """
    )
    complete, failed = map(int, out.split())
    assert complete > 0
    assert failed > 5


def test_more_types_than_the_table_holds_is_an_error():
    out = run_alone(
        """
        from liveheap import _heap
        keep = [type("T", (), {"__slots__": ()})() for _ in range(1 << 16)]
        keep += [[each] for each in keep]
        try:
            _heap.walk_here(-1, "histogram")
        except RuntimeError as error:
            print(error)
        """
    )
    assert "types" in out


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="graph"):
        _heap.walk_here(-1, "picture")
    with pytest.raises(TypeError):
        _heap.walk_here(-1, "graph", [1])
    with pytest.raises(TypeError):
        _heap.walk_here(-1, "graph", {"own_threads": 5})
    with pytest.raises(TypeError):
        _heap.add_pending_call(None)


def test_a_pending_call_runs_on_the_main_thread():
    called = threading.Event()
    threads = []

    def call() -> None:
        threads.append(threading.get_ident())
        called.set()

    asker = threading.Thread(target=lambda: _heap.add_pending_call(call))
    asker.start()
    asker.join()
    while not called.is_set():
        pass
    assert threads == [threading.main_thread().ident]


def test_the_selftest_passes():
    _heap.selftest()


def test_the_engine_stays_in_the_main_interpreter():
    out = run_alone(
        """
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters
        other = interpreters.create()
        code = "try:\\n from liveheap import _heap\\nexcept ImportError: pass\\n"
        code += "else: raise SystemError('the engine came up')"
        result = interpreters.run_string(other, code)
        from liveheap import _heap
        print("refused" if result is None else result)
        print(_heap.walk_here(-1, "graph")["flags"])
        interpreters.destroy(other)
        """
    )
    assert out.split() == ["refused", "2"]
