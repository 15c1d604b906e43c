"""Large heap graphs from numpy arrays, as record streams that FORMAT.md allows.

A GraphBuilder makes an object of each node, which takes minutes for ten million. Here a
graph is its edges: every node is a list, node 0 stands for a C root and is none.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from stream_builder import END, ITEMS, META, ROOT, TEXT, TYPE, C, varint

_LIST = 1
_BASE = 1 << 32


def list_stream(
    row: NDArray[np.int64], target: NDArray[np.int32], size: NDArray[np.int64]
) -> bytes:
    """Return the stream of a graph in compressed rows; row 0 is the root's.

    Nodes come in their order; an address is as far from the next as nodes in a heap.
    """
    n = len(row) - 1
    unit = _BASE + np.arange(n, dtype=np.int64) * 6
    degree = np.diff(row)
    source = np.repeat(np.arange(n), degree)
    before = np.empty(len(target), np.int64)
    before[1:] = unit[target[:-1]]
    before[row[:-1][degree > 0]] = unit[np.flatnonzero(degree)]
    delta = unit[target] - before
    refs = (np.where(delta >= 0, delta << 1, (-delta << 1) - 1)) + 1
    referrers = np.bincount(target, minlength=n)
    start = np.arange(n) * 5 + row[:-1]
    tokens = np.empty(5 * n + len(target), np.int64)
    tokens[start] = _LIST << 3 | ITEMS
    tokens[start + 1] = 6 << 1
    tokens[start + 2] = size
    tokens[start + 3] = np.maximum(referrers, 1)
    tokens[start + 4] = degree
    tokens[np.arange(len(target)) + 5 * (source + 1)] = refs
    tokens = tokens[5 + int(row[1]) :]
    tokens[1] = (_BASE + 6) << 1
    return b"".join(
        [
            _head(),
            varints(tokens),
            _root(target[: row[1]]),
            varint(END << 3 | META) + varint(n - 1) + varint(len(target)),
            varint(int(size[1:].sum())),
        ]
    )


def _head() -> bytes:
    texts = [
        varint(TEXT << 3 | META) + varint(len(t)) + t for t in (b"builtins", b"list")
    ]
    kind = varint(TYPE << 3 | META) + varint(_LIST) + varint(9) + varint(4)
    kind += varint(16) + varint(0) + varint(1) + varint(2) + varint(0)
    return b"".join(texts) + kind


def _root(targets: NDArray[np.int32]) -> bytes:
    out = bytearray(varint(C << 3 | ROOT) + varint(1) + varint(0) * 3)
    out += varint(len(targets))
    previous = 1
    for target in targets.tolist():
        unit = _BASE + target * 6
        delta = unit - previous
        out += varint(0) + varint((delta << 1 if delta >= 0 else (-delta << 1) - 1) + 1)
        previous = unit
    return bytes(out)


def varints(values: NDArray[np.int64]) -> bytes:
    """Encode unsigned LEB128 integers, one after the other."""
    length = np.ones(len(values), np.int64)
    rest = values >> 7
    while rest.any():
        length += rest > 0
        rest >>= 7
    end = np.cumsum(length)
    out = np.empty(int(end[-1]) if len(end) else 0, np.uint8)
    begin = end - length
    for i in range(int(length.max()) if len(length) else 0):
        chosen = np.flatnonzero(length > i)
        more = length[chosen] > i + 1
        out[begin[chosen] + i] = (values[chosen] >> (7 * i) & 0x7F) | (more << 7)
    return out.tobytes()


def rows(
    n: int, source: NDArray[np.int64], target: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return edges as compressed rows; none to node 0, which is the root."""
    kept = target != 0
    source, target = source[kept], target[kept]
    order = np.argsort(source, kind="stable")
    row = np.zeros(n + 1, np.int64)
    np.cumsum(np.bincount(source, minlength=n), out=row[1:])
    return row, target[order].astype(np.int32)
