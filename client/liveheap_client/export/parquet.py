"""Tables for DuckDB, pandas, polars: a directory with three Parquet files.

Nothing is left out or merged here: whoever writes SQL over a heap wants what is in the
snapshot, and columns that say what we made of it. Absent values are NULL. Where the
files are from stands in their metadata, as JSON under `liveheap`.

nodes.parquet, a row an object, frame or root:

    node      its number; means nothing outside this snapshot
    kind      object, type, module, frame or root
    type      module.Class
    bytes     shallow size
    retained  bytes that would go with it
    idom      node that immediately dominates it
    path      the shortest path that holds it, as `diff` names it
    root      where that path begins
    refcount  reference count, 0 if immortal
    address   in the worker
    part_of   node whose part it is: the object of a __dict__
    own       whether only liveheap holds it

edges.parquet, a row a reference:

    source, target  nodes
    kind            attribute, item, key, value, local ...
    name            the attribute's, variable's, or key's if that is program text
    owns            whether it counts for retaining

types.parquet, a row a type: type, module, qualname, count, bytes.

pyarrow writes them; it is large, and so an extra of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from liveheap.snapshot.format import Tag
from liveheap_client.analysis.dominators import SUPER_ROOT
from liveheap_client.analysis.graph import OWNS, EdgeKind, HeapGraph, NodeFlag
from liveheap_client.analysis.paths import PathNodes
from liveheap_client.errors import ClientError
from liveheap_client.export.base import TRUNCATED, Tell, Written
from liveheap_client.export.outline import hidden_nodes, wholes

if TYPE_CHECKING:
    import pyarrow

MOST_TEXT: Final = 4096
TABLES: Final = ("nodes", "edges", "types")

_ROWS_A_BLOCK = 1 << 20
_KINDS = ("object", "type", "module", "frame", "root")


class ParquetExporter:
    """Writes directories of Parquet files."""

    suffix = "-parquet"
    writes_directory = True

    def __init__(self) -> None:
        _library()

    def write(self, graph: HeapGraph, place: Path, tell: Tell) -> Written:
        """Write a graph as tables."""
        place.mkdir(mode=0o700)
        tables = _Tables(graph)
        for number, (name, blocks) in enumerate(
            zip(TABLES, (tables.nodes(), tables.edges(), tables.types()), strict=True)
        ):
            tell(f"writing {name}", number, len(TABLES))
            _write(place / f"{name}.parquet", blocks, _origin(graph))
        return Written(
            nodes=graph.n_nodes,
            edges=len(graph.target),
            bytes=int(graph.size.sum()),
            flags=("truncated",) if graph.truncated else (),
            notes=(TRUNCATED,) if graph.truncated else (),
        )


def _library() -> Any:
    """Return pyarrow.

    Raises:
        ClientError: it is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: PLC0415 - an extra, and slow
    except ImportError as exc:
        raise ClientError(
            f"Parquet files need pyarrow: {exc}", hint="pip install 'liveheap[export]'"
        ) from exc
    return pyarrow


def _origin(graph: HeapGraph) -> dict[str, str]:
    """Return what the files say of where they are from."""
    words = ("tool", "hostname", "program", "pid", "python", "created")
    known = {word: graph.header[word] for word in words if word in graph.header}
    return {"liveheap": json.dumps({**known, "truncated": graph.truncated})}


def _write(
    place: Path, blocks: Iterator[Mapping[str, Any]], origin: Mapping[str, str]
) -> None:
    """Write blocks of columns as one file, a row group each."""
    pa = _library()
    writer = None
    try:
        for block in blocks:
            table = pa.table(
                {name: pa.array(column) for name, column in block.items()},
                metadata=origin,
            )
            if writer is None:
                writer = pa.parquet.ParquetWriter(
                    place, table.schema, compression="zstd"
                )
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


class _Tables:
    """The columns of the tables, a block at a time; each table has at least one."""

    def __init__(self, graph: HeapGraph) -> None:
        self._graph = graph
        self._paths = PathNodes.of(graph)
        self._types = _Words([info.name for info in graph.types])

    def nodes(self) -> Iterator[Mapping[str, Any]]:
        """Yield the blocks of the table of nodes."""
        graph, paths, tree = self._graph, self._paths, self._graph.dominators
        whole = wholes(graph)
        hidden = hidden_nodes(graph, paths)
        kind = self._kinds_of_nodes()
        kinds, root = _Words(_KINDS), _KINDS.index("root")
        texts = _Words(paths.texts())
        for rows in _blocks(graph.n_nodes):
            node = np.arange(rows.start, rows.stop, dtype=np.int32)
            path = paths.node_path[rows]
            begin = np.where(path < 0, -1, paths.group[path].astype(np.int64))
            idom = tree.idom[rows]
            yield {
                "node": node,
                "kind": kinds.column(kind[rows]),
                "type": self._types.column(
                    np.where(kind[rows] == root, -1, graph.type[rows].astype(np.int64))
                ),
                "bytes": graph.size[rows],
                "retained": tree.retained[rows],
                "idom": _nullable(idom, idom == SUPER_ROOT),
                "path": texts.column(path),
                "root": texts.column(begin),
                "refcount": graph.refcount[rows],
                "address": graph.address[rows] * np.uint64(8),
                "part_of": _nullable(whole[rows], whole[rows] == node),
                "own": hidden[rows],
            }

    def edges(self) -> Iterator[Mapping[str, Any]]:
        """Yield the blocks of the table of references."""
        graph = self._graph
        kinds = _Words(["", *(kind.name.lower() for kind in EdgeKind)])
        used = np.unique(graph.edge_name)
        names = _Words([graph.name(int(number)) for number in used])
        for rows in _blocks(len(graph.target)):
            edge = np.arange(rows.start, rows.stop, dtype=np.uint32)
            source = np.searchsorted(graph.row, edge, side="right") - 1
            kind = graph.edge_kind[rows]
            name = graph.edge_name[rows]
            known = np.where(name == 0, np.int64(-1), np.searchsorted(used, name))
            yield {
                "source": source.astype(np.int32),
                "target": graph.target[rows],
                "kind": kinds.column(kind & (OWNS - 1)),
                "name": names.column(known),
                "owns": kind >= OWNS,
            }

    def types(self) -> Iterator[Mapping[str, Any]]:
        """Yield the table of types, those of one name as one."""
        graph = self._graph
        objects = graph.record != Tag.ROOT
        class_of = graph.class_of_type[graph.type[objects]]
        count = np.bincount(class_of, minlength=len(graph.types))
        size = np.zeros(len(graph.types), np.uint64)
        np.add.at(size, class_of, graph.size[objects])
        used = np.flatnonzero(count)
        infos = [graph.types[number] for number in used]
        pa = _library()
        yield {
            "type": self._types.column(used),
            "module": pa.array([_clean(info.module) for info in infos], pa.string()),
            "qualname": pa.array(
                [_clean(info.qualname) for info in infos], pa.string()
            ),
            "count": count[used],
            "bytes": size[used],
        }

    def _kinds_of_nodes(self) -> NDArray[np.int32]:
        graph = self._graph
        kind = np.zeros(graph.n_nodes, np.int32)
        kind[graph.flags & NodeFlag.TYPE != 0] = _KINDS.index("type")
        kind[graph.flags & NodeFlag.MODULE != 0] = _KINDS.index("module")
        kind[graph.record == Tag.FRAME] = _KINDS.index("frame")
        kind[graph.record == Tag.ROOT] = _KINDS.index("root")
        return kind


class _Words:
    """Texts that a column names by number, each stored once."""

    def __init__(self, texts: Sequence[str]) -> None:
        known: dict[str, int] = {}
        numbers = [known.setdefault(_clean(text), len(known)) for text in texts]
        self._number = np.array(numbers or [0], np.int32)
        self._texts = _library().array(list(known), _library().string())

    def column(self, numbers: NDArray[Any]) -> pyarrow.DictionaryArray:
        """Return a column of texts; a number below 0 is NULL."""
        absent = numbers < 0
        # Number 0 is there even if no text is.
        known = self._number[np.where(absent, 0, numbers)]
        pa = _library()
        indices = pa.array(known, mask=absent)
        return pa.DictionaryArray.from_arrays(indices, self._texts)


def _nullable(values: NDArray[np.int32], absent: NDArray[np.bool_]) -> Any:
    return _library().array(values, mask=absent)


def _clean(text: str) -> str:
    """Return a text that UTF-8 can hold: a lone surrogate becomes `?`."""
    return text[:MOST_TEXT].encode(errors="replace").decode()


def _blocks(length: int) -> Iterator[slice]:
    """Yield the slices of a column; one of them even if it is empty."""
    for begin in range(0, max(length, 1), _ROWS_A_BLOCK):
        yield slice(begin, min(begin + _ROWS_A_BLOCK, length))
