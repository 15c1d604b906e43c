"""Files made to do harm: to take forever, to fill the memory, to speak to a terminal.

What is quadratic here would take minutes to hours; the time limit says that it is not.
"""

import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from stream_builder import (
    CODE,
    FIELDS,
    GREENLET,
    INTERNAL,
    INTERNED,
    INTERPRETER,
    ITEMS,
    LEAF,
    META,
    PAIRS,
    ROOT,
    TEXT,
    THREAD,
    TYPE,
    C,
    GraphBuilder,
    snapshot_bytes,
    varint,
    write_snapshot,
    zigzag,
)

from liveheap.errors import CorruptSnapshot, SnapshotError
from liveheap.snapshot.reader import Snapshot
from liveheap_client.analysis import backrefs, graph, growth
from liveheap_client.analysis.graph import HeapGraph
from liveheap_client.analysis.paths import PathNodes
from liveheap_client.analysis.pathtable import Matrix, PathTable
from liveheap_client.render import backrefs as backrefs_text
from liveheap_client.render import growth as growth_text
from liveheap_client.render.table import Look

MANY = 1 << 18
BASE = 1 << 30
PIPE = Look(human=False, width=None)

in_linear_time = pytest.mark.timeout(60)


class RawStream:
    """Records byte by byte, for streams that a GraphBuilder would never write."""

    def __init__(self) -> None:
        self.out = bytearray()
        self._texts = 0
        self._types = 0
        self._previous = 0

    def text(self, text: bytes) -> int:
        self.out += varint(TEXT << 3 | META) + varint(len(text)) + text
        self._texts += 1
        return self._texts

    def type(self, name: int, fields: tuple[int, ...] = (), *, module: int = 0) -> int:
        self._types += 1
        self.out += varint(TYPE << 3 | META) + varint(self._types) + varint(0)
        self.out += varint(1) + varint(16) + varint(0)
        self.out += varint(module) + varint(name) + varint(len(fields))
        for text in fields:
            self.out += varint(INTERNAL) + varint(text)
        return self._types

    def head(self, tag: int, kind: int, address: int, *, size: int = 16) -> None:
        self.out += varint(kind << 3 | tag) + zigzag(address - self._previous)
        self.out += varint(size) + varint(1)
        self._previous = address

    def root(self, kind: int, number: int) -> None:
        """Write a root up to the count of its refs."""
        self.out += varint(kind << 3 | ROOT) + varint(number) + bytes(3)


def ref(delta: int) -> bytes:
    return varint(zigzag_number(delta) + 1)


def zigzag_number(delta: int) -> int:
    return delta << 1 if delta >= 0 else (-delta << 1) - 1


SAME = ref(0)


def decode(stream: RawStream) -> HeapGraph:
    return HeapGraph.decode([bytes(stream.out)], allow_truncated=True)


# -- quadratic ---------------------------------------------------------------------


@in_linear_time
def test_one_dict_of_interned_strings_named_many_times_is_read_once():
    stream = RawStream()
    kind = stream.type(stream.text(b"dict"))
    stream.head(LEAF, kind, BASE)
    stream.head(PAIRS, kind, BASE + 1)
    stream.out += varint(4 * MANY) + ref(-1) + SAME * (8 * MANY - 1)
    stream.root(INTERNED, 1)
    stream.out += varint(MANY) + b"\0" + ref(BASE) + (b"\0" + SAME) * (MANY - 1)
    decode(stream)


@in_linear_time
def test_sys_modules_named_many_times_is_read_once():
    stream = RawStream()
    modules = stream.text(b"modules")
    kind = stream.type(stream.text(b"dict"))
    stream.head(LEAF, kind, BASE)
    stream.head(PAIRS, kind, BASE + 1)
    stream.out += varint(4 * MANY) + ref(-1) + SAME * (8 * MANY - 1)
    stream.root(INTERPRETER, 1)
    name = varint(modules)
    stream.out += varint(MANY) + name + ref(BASE) + (name + SAME) * (MANY - 1)
    decode(stream)


@in_linear_time
def test_a_dict_is_the_namespace_of_one_module_however_many_point_to_it():
    stream = RawStream()
    modules = stream.text(b"modules")
    module = stream.type(stream.text(b"module"), (stream.text(b"__dict__"),))
    stream.head(LEAF, module, BASE)
    stream.head(FIELDS, module, BASE + 1)
    stream.out += b"\0"
    stream.head(PAIRS, module, BASE + 2)
    stream.out += varint(MANY) + ref(-2) + ref(1) + (ref(-1) + ref(1)) * (MANY - 1)
    for i in range(MANY):
        stream.head(FIELDS, module, BASE + 3 + i)
        stream.out += b"\1" + ref(-1 - i)
    stream.head(PAIRS, module, BASE + 3 + MANY)
    stream.out += varint(MANY)
    at = BASE + 3 + MANY
    for i in range(MANY):
        stream.out += ref(BASE - at) + ref(3 + i)
        at = BASE + 3 + i
    stream.root(INTERPRETER, 1)
    stream.out += b"\1" + varint(modules) + ref(BASE + 3 + MANY - 1)
    assert len(decode(stream).modules) == MANY


@in_linear_time
def test_a_closure_is_named_by_one_function_however_many_share_it():
    stream = RawStream()
    fields = (stream.text(b"__code__"), stream.text(b"__closure__"))
    kind = stream.type(stream.text(b"function"), fields)
    variable = stream.text(b"seen")
    stream.head(LEAF, kind, BASE)
    stream.out += varint(CODE << 3 | META) + varint(BASE) + bytes(3)
    stream.out += varint(MANY) * 2 + varint(variable) * MANY
    stream.head(ITEMS, kind, BASE + 1)
    stream.out += varint(MANY) + ref(-1) + SAME * (MANY - 1)
    for i in range(MANY):
        stream.head(FIELDS, kind, BASE + 2 + i)
        stream.out += b"\2" + ref(-2 - i) + ref(1)
    found = decode(stream)
    assert found.name(int(found.edge_name[MANY - 1])) == "seen"


# -- collisions ----------------------------------------------------------------------

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def crowded_pairs(low: int, shift: int, n: int) -> NDArray[np.intp]:
    """Return pairs of small numbers that all belong into one corner of a table."""
    a, b = np.divmod(np.arange(low * low, dtype=np.uint64), np.uint64(low))
    keys = (((a + np.uint64(1)) << np.uint64(32)) | (b + np.uint64(1))) + np.uint64(1)
    hashes = keys * GOLDEN
    hashes ^= hashes >> np.uint64(shift)
    corner = np.flatnonzero((hashes & np.uint64(2 * n - 1)) < np.uint64(n >> 6))
    assert len(corner) > n // 2
    pairs: NDArray[np.intp] = np.stack(np.divmod(corner[:n], low), axis=1) + 1
    return pairs


@in_linear_time
def test_types_whose_names_collide_are_refused():
    stream = RawStream()
    for i in range(4096):
        stream.text(b"%x" % i)
    for module, name in crowded_pairs(4096, 29, 1 << 16):
        stream.type(int(name), module=int(module))
    with pytest.raises(CorruptSnapshot, match="names chosen to collide"):
        decode(stream)


def crowded_pages(n_slots: int, n: int) -> NDArray[np.uint64]:
    """Return pages of addresses that all belong into one corner of the map."""
    keys = np.arange(1 << 22, 1 << 25, dtype=np.uint64)
    hashes = keys * GOLDEN
    hashes ^= hashes >> np.uint64(32)
    corner = (hashes & np.uint64(n_slots - 1)) < np.uint64(n_slots >> 9)
    found: NDArray[np.uint64] = keys[corner]
    assert len(found) > n
    return found - np.uint64(1)


@in_linear_time
def test_nodes_whose_addresses_collide_are_refused():
    stream = RawStream()
    kind = stream.type(stream.text(b"int"))
    for page in crowded_pages(1 << 17, 30_000)[:30_000]:
        stream.head(LEAF, kind, int(page) << 9)
    with pytest.raises(CorruptSnapshot, match="addresses chosen to collide"):
        decode(stream)


@in_linear_time
def test_references_that_only_collide_are_refused():
    stream = RawStream()
    kind = stream.type(stream.text(b"list"))
    pages = crowded_pages(1 << 11, 1000)
    for page in pages[:1000]:
        stream.head(LEAF, kind, int(page) << 9)
    stream.head(ITEMS, kind, BASE)
    missing = [int(page) << 9 for page in pages[1000:1002]]
    stream.out += varint(MANY) + ref(missing[0] - BASE)
    there, back = ref(missing[1] - missing[0]), ref(missing[0] - missing[1])
    stream.out += (there + back) * (MANY // 2)
    with pytest.raises(CorruptSnapshot, match="addresses chosen to collide"):
        decode(stream)


@in_linear_time
def test_texts_that_collide_are_refused():
    candidates = np.arange(1 << 22, dtype=np.uint64)
    hashes = np.full(len(candidates), 0xCBF29CE484222325, np.uint64)
    for shift in (0, 8, 16, 24):
        byte = (candidates >> np.uint64(shift)) & np.uint64(0xFF)
        hashes = (hashes ^ byte) * np.uint64(0x100000001B3)
    hashes ^= hashes >> np.uint64(32)
    hashes *= np.uint64(0xD6E8FEB86659FD93)
    hashes ^= hashes >> np.uint64(32)
    corner = candidates[(hashes & np.uint64(0xFFFF)) < np.uint64(64)]
    assert len(corner) > 3000
    stream = RawStream()
    for number in corner:
        stream.text(int(number).to_bytes(4, "little"))
    with pytest.raises(CorruptSnapshot, match="texts chosen to collide"):
        decode(stream)


def mixed(hashes: NDArray[np.uint64], value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    hashes = (hashes ^ value) * GOLDEN
    return hashes ^ (hashes >> np.uint64(29))


@in_linear_time
def test_path_nodes_that_collide_are_cut_off_and_the_answer_says_so():
    n_names, n = 2048, 1 << 14
    b = GraphBuilder()
    held = b.module("worker", {})
    names = [b.text(f"n{i}") for i in range(n_names)]
    kinds = [b.type("worker", f"T{i}") for i in range(n_names)]
    stream = b.stream()
    plain = HeapGraph.decode([stream])
    name_id = np.array([plain.raw.find_name(f"n{i}") for i in range(n_names)])
    type_id = np.array([kind.id for kind in kinds])
    i, j = np.divmod(np.arange(n_names * n_names), n_names)
    attribute = 1
    hashes = mixed(np.zeros(len(i), np.uint64), name_id[i].astype(np.uint64))
    label = (type_id[j].astype(np.uint64) << np.uint64(8)) | np.uint64(attribute)
    hashes = mixed(mixed(hashes, label), np.full(len(i), 0xFFFFFFFF, np.uint64))
    corner = np.flatnonzero((hashes & np.uint64(4 * n - 1)) < np.uint64(n >> 6))[:n]
    namespace = held.refs[0]
    assert namespace is not None
    assert len(corner) > 4000
    for place in corner:
        namespace.refs += [names[i[place]], b.instance(kinds[j[place]])]
    crowded = HeapGraph.decode([b.stream()])
    assert [plain.raw.find_name(f"n{i}") for i in range(n_names)] == [
        crowded.raw.find_name(f"n{i}") for i in range(n_names)
    ]
    paths = PathNodes.of(crowded)
    assert paths.truncated
    assert int(paths.count.sum()) <= crowded.facts["nodes"]


def test_a_ring_of_keys_made_to_collide_ends():
    def table(n: int) -> PathTable:
        keys = np.array([1, 2, 3], np.uint64)
        above = np.array([2, 1, 1], np.uint64)
        label = np.full(3, 4, np.uint8)
        counts = np.array([5, 5, n], np.int64)
        shown = np.zeros(3, np.bool_)
        depth = np.ones(3, np.uint16)
        sums = (counts, counts, counts, counts)
        return PathTable(
            keys, above, label, depth, np.arange(3), *sums, keys * 0, shown, shown
        )

    assert [row for row, _ in Matrix([table(1), table(2)]).ranked_suspects()] == [2]


# -- numbers and memory ------------------------------------------------------------


def test_sizes_that_no_signed_number_holds_are_refused():
    stream = RawStream()
    kind = stream.type(stream.text(b"int"))
    stream.head(LEAF, kind, BASE, size=2**63 - 1)
    stream.head(LEAF, kind, BASE + 1, size=1)
    with pytest.raises(CorruptSnapshot, match=r"2\^63"):
        decode(stream)


@pytest.mark.parametrize("count", [2**31, 2**32, 2**63 - 1])
@pytest.mark.parametrize("tag", [ITEMS, PAIRS, FIELDS])
def test_a_count_is_only_a_count(tag: int, count: int):
    stream = RawStream()
    stream.head(tag, stream.type(stream.text(b"list")), BASE)
    stream.out += varint(count) + SAME * 3
    assert decode(stream).facts["edges"] == 3


def test_twice_a_count_is_no_small_number():
    stream = RawStream()
    stream.head(PAIRS, stream.type(stream.text(b"dict")), BASE)
    stream.out += varint(2**63 + 1) + SAME * 3
    with pytest.raises(CorruptSnapshot, match="pairs"):
        decode(stream)


@pytest.mark.parametrize(
    "header",
    [
        '{"rss": NaN}',
        '{"rss": 1e999}',
        '{"rss": -Infinity}',
        '{"rss": 1%s}' % ("0" * 30),
    ],
)
def test_numbers_of_a_header_that_cannot_be_used_are_refused(
    tmp_path: Path, header: str
):
    data = snapshot_bytes(b"", header={"rss": "@"})
    whole = json.dumps({"rss": "@"}).encode()
    path = tmp_path / "some.liveheap"
    path.write_bytes(with_header(data, whole, header.encode()))
    with pytest.raises(CorruptSnapshot, match="no JSON"):
        Snapshot.open(path)


def with_header(data: bytes, old: bytes, new: bytes) -> bytes:
    """Exchange the header of a file."""
    at = data.index(old)
    head = struct.pack("<BBHIII", 1, 0, 0, len(new), len(new), zlib.crc32(new))
    return data[: at - 16] + head + new + data[at + len(old) :]


def test_a_file_that_unpacks_to_more_than_the_memory_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    b = GraphBuilder()
    b.module("worker", {"HELD": b.list([b.leaf() for _ in range(1000)])})
    path = write_snapshot(tmp_path / "some.liveheap", b, zstd=True)
    monkeypatch.setattr(graph, "available_memory", lambda: 1 << 30)
    assert HeapGraph.load(path).n_nodes > 1000
    monkeypatch.setattr(graph, "available_memory", lambda: 4000)
    with pytest.raises(SnapshotError, match="memory") as caught:
        HeapGraph.load(path)
    assert caught.value.hint


def test_the_available_memory_is_known():
    free = graph.available_memory()
    assert free is not None
    assert free > 1 << 20


def test_every_allocation_may_fail(tmp_path: Path):
    """Decode and search under address space limits that end anywhere between."""
    b = GraphBuilder()
    row = b.type("worker", "Row", ["payload"])
    rows = [b.instance(row, [b.leaf("bytes")]) for _ in range(20_000)]
    b.module("worker", {"ROWS": b.list(rows)})
    b.root(C, [("held", b.list(b.leaf() for _ in range(1000)))])
    path = write_snapshot(tmp_path / "some.liveheap", b)
    program = Path(__file__).with_name("scarce_memory.py")
    done = subprocess.run(
        [sys.executable, program, path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    failed, succeeded = map(int, done.stdout.split())
    assert failed > 5
    assert succeeded > 0


# -- names that speak to a terminal ----------------------------------------------------

EVIL = '\x1b]0;owned\x07\r\n\u202eevil\x9b31m\u2028\\"'


def evil_graph(n: int) -> HeapGraph:
    b = GraphBuilder()
    row = b.type(EVIL, EVIL, [EVIL])
    rows = b.list(b.instance(row, [b.leaf("bytes")]) for _ in range(n))
    b.module(EVIL, {EVIL: rows})
    code = b.code(EVIL, EVIL, [EVIL])
    for number in range(n):
        kept = b.list([b.instance(row, [b.leaf("bytes")])])
        frame = b.frame(code, 12, [kept])
        b.root(GREENLET, [("frame", frame)], number=number)
    b.root(THREAD, [(EVIL, b.list(b.leaf(EVIL) for _ in range(n)))], name=EVIL)
    b.warn(EVIL)
    return HeapGraph.decode([b.stream()], header={"pid": 1})


def test_no_name_speaks_to_the_terminal():
    report = growth.diff([evil_graph(n) for n in (2, 3)]).to_json()
    assert len(report["suspects"]) > 2
    tree = backrefs.tree(evil_graph(3), f"{EVIL}.{EVIL}")
    looks = (PIPE, Look(human=True, width=100))
    for look in looks:
        for line in [
            *growth_text.lines(report, look=look),
            *backrefs_text.lines(tree.to_json(), look=look),
            *tree.to_dot().splitlines(),
        ]:
            assert line.isprintable(), repr(line)


def test_a_picture_has_a_line_for_each_statement():
    lines = backrefs.tree(evil_graph(3), f"{EVIL}.{EVIL}").to_dot().splitlines()
    assert all(line.endswith(("{", ";", "}")) for line in lines)
    assert all(line.count('"') - line.count('\\"') in (0, 2) for line in lines)
