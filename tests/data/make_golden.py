"""Make the golden snapshot files again: python tests/data/make_golden.py

Run it only when the format gets a new version, under new names: the files prove that
a newer reader still reads what an older writer wrote. The graph has every tag, every
form, every kind of root and META, absent refs, and an edge to an unknown address.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "unit"))

from stream_builder import (  # noqa: E402 - the line above makes it importable
    ATTRIBUTE,
    COMPOUND,
    GREENLET,
    INTERNED,
    INTERPRETER,
    SLOT,
    THREAD,
    C,
    GraphBuilder,
    snapshot_bytes,
)

HEADER = {
    "tool": "liveheap 0.1.0",
    "python": "3.12.1",
    "implementation": "CPython",
    "pid": 4711,
    "start_time": 123456,
    "hostname": "host",
    "instance": "worker@1",
    "program": "worker.py",
    "created": 1700000000.0,
    "monotonic": 1000.0,
    "scope": "graph",
    "rss": 50_000_000,
    "word": 8,
}


def golden_graph() -> GraphBuilder:
    """Return the graph of the golden files."""
    b = GraphBuilder()
    row = b.type("worker", "Row", ["payload", (SLOT, "next")])
    cache = b.type("worker", "Cache", ["rows", (ATTRIBUTE, "seen")])
    rows = b.list([b.instance(row, [b.leaf("bytes", 133), None]) for _ in range(4)])
    rows.refs.append(None)
    seen = b.dict([(b.leaf("str", 53), b.leaf("int", 28)) for _ in range(3)])
    worker = b.module("worker", {"CACHE": b.instance(cache, [rows, seen])})

    strange = b.type("worker", "StrangeList", ["note"])
    compound = b.node(
        COMPOUND, strange, 64, form=1, refs=[rows], attributes=[b.leaf("str", 60)]
    )
    named = b.type("worker", "NamedDict", ["note"])
    pairs = b.node(COMPOUND, named, 96, form=2, refs=[b.text("first"), compound])
    members = b.node(COMPOUND, b.builtin("set"), 216, form=3, refs=[b.leaf("int", 28)])
    worker.refs[0].refs += [b.text("PAIRS"), pairs, b.text("MEMBERS"), members]

    handler = b.code("on_event", "/app/worker.py", ["event", "seen"], n_free=1)
    function = b.function(handler, worker.refs[0], [seen])
    worker.refs[0].refs += [b.text("on_event"), function]

    sync = b.code("sync", "/app/worker.py", ["batch", "count"], first_line=30)
    pending = b.list([b.instance(row, [b.leaf("bytes", 99), None]) for _ in range(2)])
    borrowed = b.leaf("int", 28)
    frame = b.frame(
        sync,
        41,
        [pending, None],
        attributes=[None, function, None, pending],
        borrowed=[(1, borrowed)],
    )
    greenlet = b.instance(b.type("greenlet", "greenlet"), [], 152)
    main = b.frame(b.code("main", "/app/worker.py"), 99)
    unseen = b.leaf("object", 16)
    b.list([unseen, borrowed, None])
    b.nodes.remove(unseen)
    b.root(GREENLET, [("greenlet", greenlet), ("frame", frame)], number=1)
    b.root(THREAD, [("frame", main)], name="MainThread", number=4711, flags=1)
    b.root(THREAD, [("frame", None)], name="liveheap", number=4712, flags=2)
    b.root(INTERNED, [("", b.leaf("str", 51, refcount=0))])
    b.root(INTERPRETER, [("codec_search_path", b.list())])
    b.root(C, [("type_cache", b.leaf("str", 50))])
    b.warn("one object could not be read")
    return b


def main() -> None:
    """Write both files."""
    stream = golden_graph().stream()
    for name, zstd in (("golden-1.0", False), ("golden-1.0-zstd", True)):
        data = snapshot_bytes(stream, header=HEADER, block=256, zstd=zstd)
        (HERE / f"{name}.liveheap").write_bytes(data)


if __name__ == "__main__":
    main()
