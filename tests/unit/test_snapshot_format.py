"""FORMAT.md against the code: its tables, its example, its golden files."""

import re
from enum import IntEnum
from pathlib import Path

import format_reader
import pytest

from liveheap.snapshot import format as layout
from liveheap.snapshot.reader import Snapshot
from liveheap_client.analysis.graph import EdgeKind, HeapGraph

DATA = Path(__file__).parents[1] / "data"
PAGE = Path(layout.__file__).with_name("FORMAT.md").read_text()
GOLDEN = ("golden-1.0.liveheap", "golden-1.0-zstd.liveheap")


def table_after(heading: str) -> list[list[str]]:
    """Return the rows of the first table that follows a text of the page."""
    rows: list[list[str]] = []
    for line in PAGE[PAGE.index(heading) :].splitlines():
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            break
    return rows[2:]


def listed(kind: type[IntEnum], pairs: list[tuple[int, str]]) -> bool:
    return {int(n): text for n, text in pairs} == {int(m): m.name for m in kind}


def example() -> bytes:
    """Return the small file that the page shows in hex."""
    block = PAGE[PAGE.index("## 4. A small file") :].split("```")[1]
    lines = [re.match(r"(?:[0-9A-F]{2}(?: |$))+", line) for line in block.splitlines()]
    return bytes.fromhex("".join(found.group() for found in lines if found))


def test_the_tags_are_those_of_the_page():
    rows = table_after("Every record begins with one varint")
    assert listed(layout.Tag, [(int(row[0]), row[1]) for row in rows])


def test_the_metas_are_those_of_the_page():
    rows = table_after("### 2.2 META")
    assert listed(layout.Meta, [(int(row[0]), row[1]) for row in rows])


def test_the_root_kinds_are_as_many_as_on_the_page():
    rows = table_after("A **ROOT** is no object")
    assert [int(row[0]) for row in rows] == [int(kind) for kind in layout.RootKind]


def test_block_kinds_and_codecs_are_those_of_the_page():
    rows = {row[0]: row[2] for row in table_after("A block:")}
    for kind in layout.BlockKind:
        assert f"{int(kind)} {kind.name.lower()}" in rows["0"]
    assert "0 stored, 1 one independent zstd frame" in rows["1"]
    assert [int(codec) for codec in layout.Codec] == [0, 1]


@pytest.mark.parametrize("flag", list(layout.TypeFlag))
def test_each_type_flag_stands_on_the_page(flag: layout.TypeFlag):
    words = {
        "HEAP": "heap type",
        "TRACKED": "tracked by the collector",
        "STATIC": "static builtin",
        "OWN": "made by",
        "DICT": "subclass of dict",
        "EXCEPTION": "subclass of BaseException",
        "METATYPE": "metatype",
    }
    assert f"{int(flag)} {words[str(flag.name)]}" in PAGE.replace("\n", " ")


def test_field_kinds_root_flags_and_forms_stand_on_the_page():
    page = PAGE.replace("\n", " ")
    assert "Field kinds: 1 attribute, 2 slot, 3 internal" in page
    assert "1 main thread, 2 liveheap's own" in page
    assert "form (1 items, 2 pairs, 3 set items)" in page


def test_limits_and_magic_stand_on_the_page():
    assert "`93 4C 48 53 4E 41 50 0A`" in PAGE
    assert bytes.fromhex("93 4C 48 53 4E 41 50 0A") == layout.MAGIC
    assert "at most 4 MiB + 64 KiB" in PAGE
    assert layout.MAX_STORED_LENGTH == 4 * 2**20 + 64 * 2**10
    assert f"major version, {layout.MAJOR}" in PAGE
    assert f"minor version, {layout.MINOR}" in PAGE


def test_the_small_file_parses_as_the_page_says(tmp_path: Path):
    path = tmp_path / "small.liveheap"
    path.write_bytes(example())
    file = format_reader.read(path)
    assert file.header == {"pid": 1}
    assert file.end == (2, 2, 116)
    held = file.objects[0x20000]
    assert (held.type, held.size, held.refs) == (
        "builtins.list",
        88,
        [("item", "0", 0x20040)],
    )
    assert file.objects[0x20040].type == "builtins.int"
    assert file.roots[0].refs == [("held", 0x20000)]


def test_the_small_file_is_read_by_the_product_too(tmp_path: Path):
    path = tmp_path / "small.liveheap"
    path.write_bytes(example())
    graph = HeapGraph.load(path)
    assert graph.facts["nodes"] == 2
    assert graph.facts["bytes"] == 116


@pytest.mark.parametrize("name", GOLDEN)
def test_the_golden_file_reads_as_its_maker_wrote_it(name: str):
    file = format_reader.read(DATA / name)
    assert file.end == (len(file.objects), file.n_refs, 5152)
    assert {root.kind for root in file.roots} == {1, 2, 3, 4, 5}
    assert file.warnings == ["one object could not be read"]
    code = next(c for c in file.codes.values() if c["qualname"] == "sync")
    assert (code["first_line"], code["locals"]) == (30, ["batch", "count"])


@pytest.mark.parametrize("name", GOLDEN)
def test_product_and_page_agree_on_every_object_of_the_golden_file(name: str):
    file = format_reader.read(DATA / name)
    graph = HeapGraph.load(DATA / name)
    decoded = {}
    for index in range(graph.n_nodes):
        if graph.root_of(index) is None:
            kind = graph.types[int(graph.type[index])]
            full = f"{kind.module}.{kind.qualname}" if graph.type[index] else "frame"
            first, end = graph.row[index], graph.row[index + 1]
            decoded[int(graph.address[index]) * 8] = (
                full,
                int(graph.size[index]),
                int(graph.refcount[index]),
                [int(graph.address[t]) * 8 for t in graph.target[first:end]],
            )
    expected = {
        address: (
            made.type,
            made.size,
            made.refcount,
            [t for t in [made.code, *(r[2] for r in made.refs)] if t in file.objects],
        )
        for address, made in file.objects.items()
    }
    assert decoded == expected


def test_the_decoder_names_what_the_page_names():
    file = format_reader.read(DATA / GOLDEN[0])
    graph = HeapGraph.load(DATA / GOLDEN[0])
    by_address = {int(a) * 8: i for i, a in enumerate(graph.address)}
    for made in file.objects.values():
        names = []
        for kind, name, target in made.refs:
            if target not in file.objects:
                continue
            if kind == "value":
                names.append(file.strings.get(int(name), ""))
            elif kind in ("local", "borrowed"):
                names.append(file.codes[made.code]["locals"][int(name)])
            else:
                names.append(name if kind == "field" else "")
        index = by_address[made.address]
        first, end = int(graph.row[index]), int(graph.row[index + 1])
        kinds = [EdgeKind(int(k) & 0x7F) for k in graph.edge_kind[first:end]]
        found = [
            graph.name(int(name))
            for name, kind in zip(graph.edge_name[first:end], kinds, strict=True)
            if kind is not EdgeKind.CODE
        ]
        if EdgeKind.CELL not in kinds:
            assert found == names


@pytest.mark.parametrize("name", GOLDEN)
def test_the_golden_file_has_the_header_of_its_maker(name: str):
    with Snapshot.open(DATA / name) as snapshot:
        assert snapshot.header["pid"] == 4711
        assert snapshot.trailer is not None
        assert not snapshot.truncated
