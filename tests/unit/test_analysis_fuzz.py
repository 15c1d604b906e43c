"""Whatever a file says, only SnapshotError comes out of it.

With sanitizers over the C side: configure with -DLIVEHEAP_SANITIZE=ON, install, and run
    LD_PRELOAD="$(gcc -print-file-name=libasan.so)" ASAN_OPTIONS=detect_leaks=0 \
        pytest tests/unit/test_analysis_*.py
LIVEHEAP_FUZZ=20 tries twenty times as much.
"""

import os
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from liveheap.errors import SnapshotError
from liveheap_client.analysis import backrefs, growth, histogram
from liveheap_client.analysis.graph import HeapGraph
from liveheap_client.analysis.paths import PathNodes

TIMES = int(os.environ.get("LIVEHEAP_FUZZ", "1"))
DATA = Path(__file__).parents[1] / "data"
FILES = [(DATA / f"golden-1.0{kind}.liveheap").read_bytes() for kind in ("", "-zstd")]

mutations = st.lists(
    st.tuples(st.sampled_from("xdic"), st.integers(0, 2**14), st.binary(max_size=6)),
    min_size=1,
    max_size=6,
)


def mutated(data: bytes, changes: list[tuple[str, int, bytes]]) -> bytes:
    """Flip, delete, insert and cut."""
    out = bytearray(data)
    for how, where, what in changes:
        at = where % (len(out) + 1)
        if how == "x":
            for i, byte in enumerate(what[: len(out) - at]):
                out[at + i] ^= byte
        elif how == "d":
            del out[at : at + len(what)]
        elif how == "i":
            out[at:at] = what
        else:
            del out[at:]
    return bytes(out)


def use(graph: HeapGraph) -> None:
    """Ask everything of a graph that a command would."""
    paths = PathNodes.of(graph)
    assert (paths.node_path[graph.record != 6] >= 0).all()
    for path in range(len(paths)):
        paths.text(path)
    for node in np.flatnonzero(paths.node_path >= 0):
        paths.retaining_path(int(node))
    histogram.table(graph)
    growth.diff([graph, graph]).to_json()
    for name in {graph.type_name(int(t)) for t in graph.type if t}:
        backrefs.tree(graph, name).to_dot()


@settings(max_examples=120 * TIMES, deadline=None)
@given(st.sampled_from(FILES), mutations, st.booleans())
def test_a_damaged_file_is_read_or_refused(
    tmp_path_factory, data: bytes, changes: list[tuple[str, int, bytes]], allow: bool
):
    path = tmp_path_factory.mktemp("fuzz") / "some.liveheap"
    path.write_bytes(mutated(data, changes))
    try:
        graph = HeapGraph.load(path, allow_truncated=allow)
    except SnapshotError:
        return
    use(graph)


def golden_stream() -> bytes:
    import format_reader

    kept = []
    original = format_reader._Stream

    class Keeping(original):  # type: ignore[misc, valid-type]
        def __init__(self, data: bytes, file: format_reader.File) -> None:
            kept.append(data)
            super().__init__(data, file)

    format_reader._Stream = Keeping
    try:
        format_reader.parse(FILES[0])
    finally:
        format_reader._Stream = original
    return kept[0]


STREAM = golden_stream()


@settings(max_examples=400 * TIMES, deadline=None)
@given(mutations, st.integers(1, 4096))
def test_a_damaged_stream_is_decoded_or_refused(
    changes: list[tuple[str, int, bytes]], step: int
):
    data = mutated(STREAM, changes)
    pieces = [data[i : i + step] for i in range(0, len(data), step)]
    try:
        graph = HeapGraph.decode(pieces, allow_truncated=True)
    except SnapshotError:
        return
    use(graph)


@settings(max_examples=150 * TIMES, deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_decoded_or_refused(data: bytes):
    try:
        use(HeapGraph.decode([data], allow_truncated=True))
    except SnapshotError:
        return
