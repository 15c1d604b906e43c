"""The columns beside a large snapshot: of use if they are ours, and else not there."""

import os
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stream_builder import GraphBuilder, snapshot_bytes, write_snapshot

from liveheap.errors import CorruptSnapshot
from liveheap.snapshot.reader import Snapshot
from liveheap_client import _graph, cli
from liveheap_client.analysis import columncache, growth, histogram
from liveheap_client.analysis.ahead import ahead
from liveheap_client.analysis.columncache import ColumnCache
from liveheap_client.analysis.graph import HeapGraph
from liveheap_client.analysis.paths import PathNodes

GOLDEN = Path(__file__).parents[1] / "data" / "golden-1.0.liveheap"
COLUMNS = ("address", "type", "size", "refcount", "record", "row", "flags", "target")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")


@pytest.fixture(autouse=True)
def caching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep columns of small files too, with a key of this test."""
    monkeypatch.setattr(columncache, "LEAST_RAW_BYTES", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv(columncache.SWITCH, raising=False)


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """A snapshot file, alone in its folder."""
    file = tmp_path / "snapshots" / "some.liveheap"
    file.parent.mkdir()
    file.write_bytes(GOLDEN.read_bytes())
    return file


def kept_beside(file: Path) -> Path:
    return file.with_name(f".{file.name}-columns")


def names_beside(file: Path) -> set[str]:
    return {path.name for path in file.parent.iterdir()} - {file.name}


def load_and_keep(file: Path) -> HeapGraph:
    graph = HeapGraph.load(file)
    graph.keep()
    return graph


def was_mapped(file: Path) -> bool:
    """Load a file and return whether its columns were those that are kept."""
    with Snapshot.open(file) as opened:
        cache = ColumnCache.of(opened)
        assert cache is not None
        return cache.read() is not None


def test_a_second_load_maps_what_the_first_one_decoded(
    snapshot: Path, monkeypatch: pytest.MonkeyPatch
):
    first = load_and_keep(snapshot)
    monkeypatch.setattr(HeapGraph, "decode", None)
    second = HeapGraph.load(snapshot)
    for name in (*COLUMNS, "edge_kind", "edge_name"):
        assert (getattr(first, name) == getattr(second, name)).all(), name
    assert first.facts == second.facts
    assert first.header == second.header
    assert first.trailer == second.trailer
    for name in ("types", "codes", "frames", "roots", "modules", "code_by_node"):
        assert getattr(first, name) == getattr(second, name), name
    assert first.raw.warnings() == second.raw.warnings()
    assert [first.name(i) for i in range(first.facts["names"])] == [
        second.name(i) for i in range(second.facts["names"])
    ]
    assert histogram.table(first) == histogram.table(second)
    assert (first.dominators.idom == second.dominators.idom).all()
    assert (first.dominators.retained == second.dominators.retained).all()
    paths = [PathNodes.of(graph) for graph in (first, second)]
    texts = [[nodes.text(path) for path in range(len(nodes))] for nodes in paths]
    assert texts[0] == texts[1]
    together = growth.diff([first, second]).to_json()
    assert all(
        type_row["counts"][0] == type_row["counts"][1] for type_row in together["types"]
    )


def test_a_graph_outlives_the_cache_that_it_is_mapped_from(snapshot: Path):
    decoded = load_and_keep(snapshot)
    mapped = HeapGraph.load(snapshot)
    kept_beside(snapshot).unlink()
    sizes = mapped.size
    del mapped
    assert (sizes == decoded.size).all()


def test_the_cache_is_the_only_thing_left_and_only_ours(snapshot: Path):
    old = os.umask(0)
    try:
        load_and_keep(snapshot)
    finally:
        os.umask(old)
    assert names_beside(snapshot) == {".some.liveheap-columns"}
    assert kept_beside(snapshot).stat().st_mode & 0o777 == 0o600
    key = Path(os.environ["XDG_CACHE_HOME"], "liveheap", "columns.key")
    assert key.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in key.parent.iterdir()] == ["columns.key"]


def cut(kept: Path) -> None:
    kept.write_bytes(kept.read_bytes()[:-8])


def lengthened(kept: Path) -> None:
    kept.write_bytes(kept.read_bytes() + b"\0" * 8)


def flipped(at: int) -> Callable[[Path], None]:
    def flip(kept: Path) -> None:
        data = bytearray(kept.read_bytes())
        data[at] ^= 1
        kept.write_bytes(data)

    flip.__name__ = f"flipped_at_{at}"
    return flip


def emptied(kept: Path) -> None:
    kept.write_bytes(b"")


def open_to_the_group(kept: Path) -> None:
    kept.chmod(0o640)


def turned_into_a_link(kept: Path) -> None:
    kept.rename(kept.with_name("elsewhere"))
    kept.symlink_to("elsewhere")


def turned_into_a_pipe(kept: Path) -> None:
    kept.unlink()
    os.mkfifo(kept, 0o600)


def signed_by_somebody_else(_kept: Path) -> None:
    key = Path(os.environ["XDG_CACHE_HOME"], "liveheap", "columns.key")
    key.write_bytes(bytes(32))


def without_its_key(_kept: Path) -> None:
    Path(os.environ["XDG_CACHE_HOME"], "liveheap", "columns.key").unlink()


HARM = (
    cut,
    lengthened,
    *map(flipped, (0, 20, 50, 80, 250, 2000, -9)),
    emptied,
    open_to_the_group,
    turned_into_a_link,
    turned_into_a_pipe,
    signed_by_somebody_else,
    without_its_key,
)


@pytest.mark.parametrize("harm", HARM, ids=lambda harm: harm.__name__)
def test_a_cache_that_is_not_as_we_left_it_is_passed_over_and_replaced(
    snapshot: Path, harm: Callable[[Path], None]
):
    decoded = load_and_keep(snapshot)
    assert was_mapped(snapshot)
    harm(kept_beside(snapshot))
    assert not was_mapped(snapshot)
    again = load_and_keep(snapshot)
    assert histogram.table(again) == histogram.table(decoded)
    assert was_mapped(snapshot)


@as_root
def test_a_cache_of_somebody_else_is_passed_over(snapshot: Path):
    load_and_keep(snapshot)
    os.chown(kept_beside(snapshot), 12345, -1)
    assert not was_mapped(snapshot)


@as_root
def test_a_snapshot_of_somebody_else_gets_no_cache(snapshot: Path):
    os.chown(snapshot, 12345, -1)
    load_and_keep(snapshot)
    assert names_beside(snapshot) == set()


@as_root
def test_no_key_is_left_in_the_home_of_somebody_else(snapshot: Path, tmp_path: Path):
    os.chown(tmp_path, 12345, -1)
    load_and_keep(snapshot)
    assert names_beside(snapshot) == set()
    assert {path.name for path in tmp_path.iterdir()} == {"snapshots"}


def test_a_cache_is_of_one_snapshot_and_one_decoder(
    snapshot: Path, monkeypatch: pytest.MonkeyPatch
):
    load_and_keep(snapshot)
    other = write_snapshot(snapshot.with_name("other.liveheap"), one_list())
    kept_beside(snapshot).rename(kept_beside(other))
    assert not was_mapped(other)
    kept_beside(other).rename(kept_beside(snapshot))
    assert was_mapped(snapshot)
    monkeypatch.setattr(columncache, "_decoder", lambda: "of the next version")
    assert not was_mapped(snapshot)


def one_list() -> GraphBuilder:
    builder = GraphBuilder()
    builder.list([builder.leaf() for _ in range(3)])
    return builder


def test_a_snapshot_damaged_after_it_was_kept_is_refused(snapshot: Path):
    load_and_keep(snapshot)
    data = bytearray(snapshot.read_bytes())
    data[len(data) // 2] ^= 1
    snapshot.write_bytes(data)
    with pytest.raises(CorruptSnapshot):
        HeapGraph.load(snapshot)


def test_a_link_to_a_snapshot_shares_its_cache(snapshot: Path, tmp_path: Path):
    link = tmp_path / "link.liveheap"
    link.symlink_to(snapshot)
    load_and_keep(link)
    assert was_mapped(snapshot)
    assert not kept_beside(link).exists()


def test_a_small_or_truncated_snapshot_gets_no_cache(
    snapshot: Path, monkeypatch: pytest.MonkeyPatch
):
    short = write_snapshot(
        snapshot.with_name("short.liveheap"), one_list(), trailer=False
    )
    HeapGraph.load(short, allow_truncated=True).keep()
    monkeypatch.undo()
    load_and_keep(snapshot)
    assert names_beside(snapshot) == {"short.liveheap"}


def test_the_cache_can_be_switched_off(snapshot: Path, monkeypatch: pytest.MonkeyPatch):
    load_and_keep(snapshot)
    monkeypatch.setenv(columncache.SWITCH, "0")
    with Snapshot.open(snapshot) as opened:
        assert ColumnCache.of(opened) is None
    kept_beside(snapshot).unlink()
    load_and_keep(snapshot)
    assert names_beside(snapshot) == set()


def no_room(_snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columncache, "SHARE_OF_FREE_SPACE", 1 << 60)


def no_home(_snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")


def no_place_for_a_key(_snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")


def no_file_can_be_made(snapshot: Path, _monkeypatch: pytest.MonkeyPatch) -> None:
    kept_beside(snapshot).with_name(".some.liveheap-columns.part").mkdir()


def no_name_is_free(snapshot: Path, _monkeypatch: pytest.MonkeyPatch) -> None:
    kept_beside(snapshot).mkdir()


HINDRANCES = (
    no_room,
    no_home,
    no_place_for_a_key,
    no_file_can_be_made,
    no_name_is_free,
)


@pytest.mark.parametrize("hindrance", HINDRANCES, ids=lambda it: it.__name__)
def test_what_hinders_the_cache_is_not_told(
    snapshot: Path,
    monkeypatch: pytest.MonkeyPatch,
    hindrance: Callable[[Path, pytest.MonkeyPatch], None],
):
    hindrance(snapshot, monkeypatch)
    before = names_beside(snapshot)
    load_and_keep(snapshot)
    assert names_beside(snapshot) == before


def test_a_disk_that_fills_up_leaves_nothing_behind(snapshot: Path):
    graph = HeapGraph.load(snapshot)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        graph.keep()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names_beside(snapshot) == set()


def test_a_draft_that_somebody_left_is_no_hindrance(snapshot: Path):
    draft = kept_beside(snapshot).with_name(".some.liveheap-columns.part")
    draft.symlink_to("/dev/null")
    load_and_keep(snapshot)
    assert was_mapped(snapshot)
    assert not draft.is_symlink()


def test_a_verb_keeps_the_columns_once_it_has_answered(
    snapshot: Path, capsys: pytest.CaptureFixture[str]
):
    assert cli.run(["histogram", str(snapshot)]) == 0
    answer = capsys.readouterr().out
    assert names_beside(snapshot) == {".some.liveheap-columns"}
    assert cli.run(["histogram", str(snapshot)]) == 0
    assert capsys.readouterr().out == answer


def test_rounds_are_not_kept(snapshot: Path):
    other = snapshot.with_name("other.liveheap")
    other.write_bytes(snapshot.read_bytes())
    assert cli.run(["diff", str(snapshot), str(other)]) == 0
    assert names_beside(snapshot) == {"other.liveheap"}


# ---- what is borrowed is not believed, signed or not ----


def sections_of(graph: HeapGraph) -> list[bytearray]:
    return [bytearray(memoryview(column)) for column in graph.raw.sections()]


def borrowed(sections: list[bytearray]) -> _graph.Graph:
    memory = b"".join(part + bytes(-len(part) % 8) for part in sections)
    return _graph.borrow(memory, tuple(map(len, sections)), 0)


SECTIONS = sections_of(HeapGraph.load(GOLDEN))

changes = st.lists(
    st.tuples(
        st.sampled_from([i for i, part in enumerate(SECTIONS) if part]),
        st.integers(0, 2**16),
        st.one_of(
            st.binary(min_size=1, max_size=8),
            st.integers(0, 40).map(lambda n: n.to_bytes(4, "little")),
            st.sampled_from([b"\xff" * 4, b"\xff" * 8, b"\0" * 8, b"\xff\xff\xff\x7f"]),
        ),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=200, deadline=None)
@given(changes)
def test_forged_columns_are_refused_or_do_no_harm(
    forged: list[tuple[int, int, bytes]],
):
    sections = [bytearray(part) for part in SECTIONS]
    for section, where, what in forged:
        part = sections[section]
        item = _graph.SECTION_ITEM_SIZES[section]
        at = where % (len(part) // item) * item + where % max(item // 4, 1) * 4
        part[at : at + len(what)] = what[: len(part) - at]
    with suppress(_graph.CorruptStream):
        use(borrowed(sections))


def use(raw: _graph.Graph) -> None:
    """Run every pass; what Python makes of nonsense does not matter here."""
    for ask in (raw.types, raw.codes, raw.frames, raw.roots, raw.modules, raw.warnings):
        ask()
    graph = HeapGraph(raw)
    graph.dominators  # noqa: B018 - it is worked out when asked for
    graph.reverse  # noqa: B018
    member = np.zeros(graph.n_nodes, np.uint8)
    raw.leak_shares(member, np.zeros(1, np.int32), 1)
    with suppress(Exception):
        PathNodes.of(graph)


NODES_AND_EDGES = range(10)


@pytest.mark.parametrize("section", NODES_AND_EDGES)
def test_columns_of_different_lengths_are_refused(section: int):
    shorter = [*SECTIONS]
    shorter[section] = shorter[section][: -_graph.SECTION_ITEM_SIZES[section]]
    with pytest.raises(_graph.CorruptStream):
        borrowed(shorter)


@pytest.mark.parametrize(
    "lengths",
    [
        (),
        (8,) * len(SECTIONS),
        (2**64 - 8, *map(len, SECTIONS[1:])),
        (len(SECTIONS[0]) - 1, *map(len, SECTIONS[1:])),
        (-8, *map(len, SECTIONS[1:])),
        ("8", *map(len, SECTIONS[1:])),
    ],
    ids=["none", "too few", "too long", "half an item", "negative", "a text"],
)
def test_lengths_that_lead_out_of_the_memory_are_refused(lengths: tuple[int, ...]):
    with pytest.raises((ValueError, OverflowError, TypeError)):
        _graph.borrow(bytes(64), lengths, 0)


# ---- working ahead ----


def test_pieces_come_in_their_order():
    assert list(ahead(iter(range(100)))) == list(range(100))
    assert list(ahead([])) == []


def test_an_error_comes_after_the_pieces_before_it():
    def pieces() -> Iterator[int]:
        yield 1
        yield 2
        raise CorruptSnapshot("the third is bad")

    coming = ahead(pieces())
    assert [next(coming), next(coming)] == [1, 2]
    with pytest.raises(CorruptSnapshot, match="the third is bad"):
        next(coming)


def test_a_file_of_nonsense_is_refused_and_leaves_no_thread(tmp_path: Path):
    file = tmp_path / "nonsense.liveheap"
    file.write_bytes(snapshot_bytes(b"\xff" * 4096, block=16))
    before = set(threading.enumerate())
    with pytest.raises(CorruptSnapshot, match="more than 64 bits") as caught:
        HeapGraph.load(file)
    assert set(threading.enumerate()) <= before
    del caught


def test_who_stops_in_between_leaves_no_thread():
    before = set(threading.enumerate())
    for piece in (pieces := ahead(iter(range(1000)))):
        if piece == 3:
            break
    pieces.close()
    assert set(threading.enumerate()) <= before
