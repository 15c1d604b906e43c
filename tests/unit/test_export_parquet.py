"""Parquet tables, read back by DuckDB as a person would."""

import sys
from pathlib import Path
from typing import Any

import pytest
from stream_builder import GREENLET, INTERNAL, GraphBuilder

from liveheap_client.analysis.graph import HeapGraph
from liveheap_client.errors import ClientError
from liveheap_client.verbs import export

duckdb = pytest.importorskip("duckdb", reason="the group `tables` is not installed")
pytest.importorskip("pyarrow", reason="the group `tables` is not installed")

from liveheap_client.export.parquet import (  # noqa: E402 - as above
    TABLES,
    ParquetExporter,
)


def worker() -> GraphBuilder:
    b = GraphBuilder()
    row = b.type("app", "Row", ["text", (INTERNAL, "__dict__")])
    rows = [
        b.instance(row, [b.leaf("str", 60), b.named_dict({"size": b.leaf("int", 28)})])
        for _ in range(3)
    ]
    b.module("app", {"ROWS": b.list(rows, 88)})
    code = b.code("sync", "/app/worker.py", ["out"], first_line=40)
    b.root(GREENLET, [("frame", b.frame(code, 41, [rows[0]]))], number=1)
    return b


class Tables:
    """A directory of tables to ask."""

    def __init__(self, b: GraphBuilder, place: Path, *, end: bool = True) -> None:
        self.graph = HeapGraph.decode([b.stream(end=end)], allow_truncated=not end)
        self.written = ParquetExporter().write(self.graph, place, lambda *_: None)
        self._place = place

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        for name in ("nodes", "edges", "types"):
            sql = sql.replace(f"${name}", f"'{self._place / name}.parquet'")
        found: list[tuple[Any, ...]] = duckdb.sql(sql).fetchall()
        return found


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "heap-parquet"


def test_the_types_are_a_histogram(place: Path):
    tables = Tables(worker(), place)

    asked = tables.ask("select count, bytes from $types where type = 'app.Row'")

    assert asked == [(3, 144)]
    (whole,) = tables.ask("select sum(bytes) from $nodes")
    assert tables.ask("select sum(bytes) from $types") == [whole]


def test_each_object_knows_its_path_and_what_it_retains(place: Path):
    tables = Tables(worker(), place)

    asked = tables.ask(
        "select path, root, kind, count(*), sum(retained) from $nodes "
        "where type = 'app.Row' group by all"
    )

    # The first of them is held by a frame too; it still retains its own parts.
    retained = 48 + 60 + 232 + 28
    assert asked == [("app.ROWS[*] -> app.Row", "app", "object", 3, 3 * retained)]


def test_references_join_to_their_ends(place: Path):
    tables = Tables(worker(), place)

    asked = tables.ask(
        "select s.type, e.kind, e.name, e.owns, count(*) from $edges e "
        "join $nodes s on s.node = e.source join $nodes t on t.node = e.target "
        "where t.type = 'app.Row' group by all order by 1"
    )

    assert asked == [
        ("frame", "local", "out", True, 1),
        ("list", "item", None, True, 3),
    ]


def test_parts_and_dominators_are_other_rows_of_the_table(place: Path):
    tables = Tables(worker(), place)

    parts = tables.ask(
        "select p.type, w.type, d.type from $nodes p "
        "join $nodes w on w.node = p.part_of join $nodes d on d.node = p.idom "
        "where w.type = 'app.Row'"
    )
    tops = tables.ask("select distinct kind from $nodes where idom is null")

    assert parts == [("dict", "app.Row", "app.Row")] * 3
    assert ("module",) in tops


def test_roots_have_no_type_and_addresses_are_those_of_the_worker(place: Path):
    tables = Tables(worker(), place)

    assert tables.ask("select type, path from $nodes where kind = 'root'") == [
        (None, None)
    ] * len(tables.graph.roots)
    (low,) = tables.ask("select min(address) from $nodes where kind = 'object'")
    assert low[0] > 0x7F0000000000


def test_liveheaps_own_objects_are_marked(place: Path):
    b = worker()
    b.module("liveheap", {"X": b.instance(b.type("liveheap", "Own"))})

    tables = Tables(b, place)

    assert tables.ask("select own from $nodes where type = 'liveheap.Own'") == [(True,)]
    assert tables.ask("select count(*) from $nodes where own and type = 'app.Row'") == [
        (0,)
    ]


def test_the_help_names_the_columns(place: Path):
    tables = Tables(worker(), place)

    for name in TABLES:
        columns = [row[0] for row in tables.ask(f"describe select * from ${name}")]
        assert f"\n{name}  {' '.join(columns)}\n" in export.VERB.help


def test_an_empty_heap_has_empty_tables(place: Path):
    tables = Tables(GraphBuilder(), place)

    for name in ("nodes", "edges", "types"):
        assert tables.ask(f"select count(*) from ${name}") == [(0,)]


def test_hostile_names_and_sizes_are_values_like_others(place: Path):
    b = GraphBuilder()
    name = "Größe'; drop table x --\x1b[31m\u202e" + "x" * 10_000
    b.module("app", {"X": b.instance(b.type("app", name), size=5 << 32)})

    tables = Tables(b, place, end=False)

    ((kind, size),) = tables.ask("select type, bytes from $nodes where bytes > 1e9")
    assert kind.startswith("app.Größe'; drop table x --\x1b[31m")
    assert size == 5 << 32
    assert tables.written.flags == ("truncated",)
    ((origin,),) = tables.ask(
        "select value from parquet_kv_metadata($types) where key = 'liveheap'"
    )
    assert b'"truncated": true' in origin


def test_without_pyarrow_there_is_a_hint(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(ClientError, match="pyarrow") as caught:
        ParquetExporter()

    assert caught.value.hint == "pip install 'liveheap[export]'"
