"""Small heap graphs, written by hand as FORMAT.md says.

A `GraphBuilder` makes objects (`Node`), lets tests wire them in any order, and writes
the record stream. It knows the format from FORMAT.md alone: neither the walker nor
the decoder is used, so each of them can be tested against it.

    b = GraphBuilder()
    row = b.type("worker", "Row", ["payload"])
    b.module("worker", {"ROWS": b.list([b.instance(row, [b.leaf("str", 50)])])})
    stream = b.stream()
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

LEAF, ITEMS, PAIRS, FIELDS, COMPOUND, FRAME, ROOT, META = range(8)
END, TYPE, TEXT, STRING, CODE, WARNING = range(6)
HASH, PREVIEW = 7, 8
ATTRIBUTE, SLOT, INTERNAL = 1, 2, 3
INTERPRETER, THREAD, GREENLET, INTERNED, C = 1, 2, 3, 4, 5

FUNCTION_FIELDS = ("__code__", "__globals__", "__closure__", "__dict__")


def varint(value: int) -> bytes:
    """Encode an unsigned LEB128 integer."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def zigzag(value: int) -> bytes:
    """Encode a signed integer as a varint."""
    return varint(value << 1 if value >= 0 else (-value << 1) - 1)


@dataclass(eq=False)
class Type:
    """A TYPE record and, if it is a heap type, the type object itself."""

    id: int
    module: str
    qualname: str
    fields: list[tuple[int, str]]
    flags: int
    node: Node | None = None
    address: int = 0


@dataclass(eq=False)
class Node:
    """One record: an object, a frame or a root."""

    address: int
    tag: int
    type: Type | None
    size: int = 0
    form: int = 0
    refs: list[Node | None] = field(default_factory=list)
    attributes: list[Node | None] = field(default_factory=list)
    borrowed: list[tuple[int, Node]] = field(default_factory=list)
    refcount: int | None = None
    code: Node | None = None
    line: int = 0
    text: str | None = None
    content: str | bytes | None = None  # to be hashed
    preview: str | bytes | int | float | None = None  # to be told
    # of a code object
    qualname: str = ""
    filename: str = ""
    first_line: int = 0
    n_free: int = 0
    locals: tuple[str, ...] = ()
    is_code: bool = False
    # of a root
    kind: int = 0
    names: list[str] = field(default_factory=list)
    name: str = ""
    number: int = 0
    flags: int = 0


class GraphBuilder:
    """Collects nodes, then writes them as a record stream."""

    def __init__(self, *, base: int = 0x7F0000000000, step: int = 48) -> None:
        self.nodes: list[Node] = []
        self.types: dict[tuple[str, str], Type] = {}
        self._all_types: list[Type] = []
        self._next = base
        self._step = step
        self._roots = 0
        self._modules: Node | None = None
        self._strings: dict[str, Node] = {}
        self._warnings: list[str] = []

    # -- types and objects --------------------------------------------------

    def type(
        self,
        module: str,
        qualname: str,
        fields: Sequence[str | tuple[int, str]] = (),
        *,
        flags: int = 1,
        again: bool = False,
        node: Node | None = None,
    ) -> Type:
        """Return the type of that name; `again` makes another one."""
        key = (module, qualname)
        if key in self.types and not again:
            return self.types[key]
        made = Type(
            len(self._all_types) + 1,
            module,
            qualname,
            [f if isinstance(f, tuple) else (ATTRIBUTE, f) for f in fields],
            flags,
            node,
            node.address if node else self._address(),
        )
        self.types[key] = made
        self._all_types.append(made)
        return made

    def node(self, tag: int, type_: Type | None, size: int, **fields: object) -> Node:
        """Add a record."""
        made = Node(self._address(), tag, type_, size)
        for name, value in fields.items():
            setattr(made, name, value)
        self.nodes.append(made)
        return made

    def leaf(self, qualname: str = "str", size: int = 56, **fields: object) -> Node:
        return self.node(LEAF, self.builtin(qualname), size, **fields)

    def text(self, text: str) -> Node:
        """Return the str that is program text; one for each text."""
        if text not in self._strings:
            self._strings[text] = self.leaf("str", 49 + len(text), text=text)
        return self._strings[text]

    def list(self, refs: Iterable[Node | None] = (), size: int = 88) -> Node:
        return self.node(ITEMS, self.builtin("list"), size, refs=[*refs])

    def tuple(self, refs: Iterable[Node | None] = (), size: int = 64) -> Node:
        return self.node(ITEMS, self.builtin("tuple"), size, refs=[*refs])

    def dict(
        self,
        pairs: Iterable[tuple[Node | None, Node | None]] = (),
        size: int = 232,
    ) -> Node:
        refs = [ref for pair in pairs for ref in pair]
        return self.node(PAIRS, self.builtin("dict"), size, refs=refs)

    def named_dict(self, values: Mapping[str, Node | None], size: int = 232) -> Node:
        return self.dict(((self.text(k), v) for k, v in values.items()), size)

    def instance(
        self, type_: Type, refs: Iterable[Node | None] = (), size: int = 48
    ) -> Node:
        return self.node(FIELDS, type_, size, refs=[*refs])

    def builtin(self, qualname: str) -> Type:
        return self.type("builtins", qualname, flags=4)

    # -- the interpreter's own ----------------------------------------------

    def module(self, name: str, values: Mapping[str, Node | None]) -> Node:
        """Add a module to sys.modules."""
        kind = self.type("builtins", "module", [(INTERNAL, "__dict__")], flags=4)
        made = self.instance(kind, [self.named_dict(values)], 72)
        modules = self.sys_modules()
        modules.refs += [self.text(name), made]
        return made

    def sys_modules(self) -> Node:
        if self._modules is None:
            self._modules = self.dict()
            self.root(INTERPRETER, [("modules", self._modules)])
        return self._modules

    def code(
        self,
        qualname: str,
        filename: str,
        locals_: Sequence[str] = (),
        *,
        n_free: int = 0,
        first_line: int = 1,
    ) -> Node:
        return self.node(
            LEAF,
            self.builtin("code"),
            400,
            is_code=True,
            qualname=qualname,
            filename=filename,
            locals=tuple(locals_),
            n_free=n_free,
            first_line=first_line,
        )

    def function(
        self, code: Node, globals_: Node | None = None, closure: Sequence[Node] = ()
    ) -> Node:
        kind = self.type(
            "builtins", "function", [(INTERNAL, n) for n in FUNCTION_FIELDS], flags=4
        )
        cells = self.tuple([self.cell(value) for value in closure]) if closure else None
        return self.instance(kind, [code, globals_, cells, None], 152)

    def cell(self, content: Node) -> Node:
        kind = self.type("builtins", "cell", [(INTERNAL, "cell_contents")], flags=4)
        return self.instance(kind, [content], 40)

    def frame(
        self,
        code: Node,
        line: int,
        locals_: Sequence[Node | None] = (),
        *,
        attributes: Sequence[Node | None] = (),
        borrowed: Sequence[tuple[int, Node]] = (),
        type_: Type | None = None,
    ) -> Node:
        return self.node(
            FRAME,
            type_,
            96,
            code=code,
            line=line,
            refs=[*locals_],
            attributes=[*attributes],
            borrowed=[*borrowed],
        )

    def root(
        self,
        kind: int,
        refs: Sequence[tuple[str, Node | None]],
        *,
        name: str = "",
        number: int = 0,
        flags: int = 0,
    ) -> Node:
        self._roots += 1
        made = Node(self._roots * 8, ROOT, None)
        made.kind, made.name, made.number, made.flags = kind, name, number, flags
        made.names = [n for n, _ in refs]
        made.refs = [r for _, r in refs]
        self.nodes.append(made)
        return made

    def warn(self, text: str) -> None:
        """Add a WARNING record."""
        self._warnings.append(text)

    # -- output ---------------------------------------------------------------

    def stream(self, *, end: bool = True) -> bytes:
        """Return the record stream."""
        writer = _StreamWriter(self.nodes, self._all_types)
        return writer.write(self._warnings, end=end)

    def _address(self) -> int:
        self._next += self._step
        return self._next


class _StreamWriter:
    """Writes nodes in their order, each TYPE and TEXT before its first use."""

    def __init__(self, nodes: Sequence[Node], types: Sequence[Type]) -> None:
        self._nodes = nodes
        self._types = types
        self._texts: dict[str, int] = {}
        self._out = bytearray()
        self._edges = 0
        self._referrers: dict[int, int] = {}
        for node in nodes:
            for ref in [*node.refs, *node.attributes, node.code]:
                if ref is not None:
                    count = self._referrers.get(ref.address, 0)
                    self._referrers[ref.address] = count + 1

    def write(self, warnings: Sequence[str], *, end: bool) -> bytes:
        for type_ in self._types:
            self._type(type_)
        previous = previous_string = 0
        for node in self._nodes:
            if node.is_code:
                self._code(node)
            if node.text is not None:
                data = node.text.encode()
                unit = node.address // 8
                self._out += varint(STRING << 3 | META)
                self._out += zigzag(unit - previous_string) + varint(len(data)) + data
                previous_string = unit
            if node.tag == ROOT:
                self._root(node)
            else:
                self._object(node, previous)
                previous = node.address // 8
            if node.content is not None:
                self._hash(node.content)
        self._previews()
        for text in warnings:
            number = self._text(text)
            self._out += varint(WARNING << 3 | META) + number
        if end:
            objects = [n for n in self._nodes if n.tag != ROOT]
            size = sum(n.size for n in objects)
            self._out += varint(END << 3 | META)
            self._out += varint(len(objects)) + varint(self._edges) + varint(size)
        return bytes(self._out)

    def _text(self, text: str) -> bytes:
        if not text:
            return varint(0)
        if text not in self._texts:
            data = text.encode()
            self._texts[text] = len(self._texts) + 1
            self._out += varint(TEXT << 3 | META) + varint(len(data)) + data
        return varint(self._texts[text])

    def _type(self, type_: Type) -> None:
        module, qualname = self._text(type_.module), self._text(type_.qualname)
        fields = [varint(kind) + self._text(name) for kind, name in type_.fields]
        self._out += varint(TYPE << 3 | META) + varint(type_.id)
        self._out += varint(type_.address // 8) + varint(type_.flags)
        self._out += varint(16) + varint(0) + module + qualname
        self._out += varint(len(fields)) + b"".join(fields)

    def _code(self, node: Node) -> None:
        qualname, filename = self._text(node.qualname), self._text(node.filename)
        names = [self._text(name) for name in node.locals]
        self._out += varint(CODE << 3 | META) + varint(node.address // 8)
        self._out += qualname + filename + varint(node.first_line)
        self._out += varint(node.n_free) + varint(len(names)) + b"".join(names)

    def _hash(self, content: str | bytes) -> None:
        kind, data = 2, content
        if isinstance(data, str):
            kind, data = 1, data.encode()
        self._out += varint(HASH << 3 | META) + varint(kind) + varint(len(content))
        self._out += hashlib.sha256(data).digest()[:8]

    def _previews(self) -> None:
        previous = 0
        for node in (node for node in self._nodes if node.preview is not None):
            told = node.preview
            kind = {str: 1, bytes: 2, int: 4, float: 5}[type(told)]
            length = len(told) if isinstance(told, (str, bytes)) else 0
            if isinstance(told, bytes):
                told = told.decode("latin-1")
            shown = told.hex() if isinstance(told, float) else str(told)[:64]
            data = shown.encode("utf-8", "surrogatepass")
            self._out += varint(PREVIEW << 3 | META)
            self._out += zigzag(node.address // 8 - previous) + varint(kind)
            self._out += varint(length) + varint(len(data)) + data
            previous = node.address // 8

    def _root(self, node: Node) -> None:
        name = self._text(node.name)
        names = [self._text(text) for text in node.names]
        chain = [node.address // 8]
        self._out += varint(node.kind << 3 | ROOT) + varint(node.address // 8) + name
        self._out += varint(node.number) + varint(node.flags) + varint(len(names))
        for text, ref in zip(names, node.refs, strict=True):
            self._out += text + self._ref(ref, chain)

    def _object(self, node: Node, previous: int) -> None:
        type_id = 0 if node.type is None else node.type.id
        unit = node.address // 8
        count = node.refcount
        if count is None:
            count = max(1, self._referrers.get(node.address, 0))
        chain = [unit]
        out = varint(type_id << 3 | node.tag) + zigzag(unit - previous)
        out += varint(node.size) + varint(count)
        if node.tag == FRAME:
            out += self._ref(node.code, chain) + varint(node.line)
        if node.tag == COMPOUND:
            out += varint(node.form)
        if node.tag != LEAF:
            pairs = node.tag == PAIRS or (node.tag == COMPOUND and node.form == 2)
            out += varint(len(node.refs) // (2 if pairs else 1))
            out += b"".join(self._ref(ref, chain) for ref in node.refs)
        if node.tag in (COMPOUND, FRAME):
            out += varint(len(node.attributes))
            out += b"".join(self._ref(ref, chain) for ref in node.attributes)
        if node.tag == FRAME:
            out += varint(len(node.borrowed))
            for index, ref in node.borrowed:
                out += varint(index) + self._ref(ref, chain)
        self._out += out

    def _ref(self, ref: Node | None, chain: list[int]) -> bytes:
        if ref is None:
            return varint(0)
        self._edges += 1
        delta = ref.address // 8 - chain[0]
        chain[0] = ref.address // 8
        return varint((delta << 1 if delta >= 0 else (-delta << 1) - 1) + 1)


def snapshot_bytes(
    stream: bytes,
    *,
    header: Mapping[str, object] | None = None,
    block: int = 1 << 20,
    zstd: bool = False,
    complete: bool = True,
    trailer: bool = True,
) -> bytes:
    """Return a whole snapshot file around a record stream."""
    pieces = [stream[i : i + block] for i in range(0, len(stream), block)]
    major = 2 if header and header.get("texts") else 1
    if header and header.get("scope") == "values":
        major = 3
    out = struct.pack("<8sHH", b"\x93LHSNAP\n", major, 0)
    out += _block(1, 0, json.dumps(dict(header or {"pid": 1})).encode())
    for piece in pieces:
        out += _block(2, 1 if zstd else 0, piece)
    end = {
        "complete": complete,
        "reason": None if complete else "timeout",
        "raw_length": len(stream),
        "raw_sha256": hashlib.sha256(stream).hexdigest(),
    }
    return out + _block(3, 0, json.dumps(end).encode()) if trailer else out


def _block(kind: int, codec: int, raw: bytes) -> bytes:
    stored = raw
    if codec == 1:
        import zstandard

        stored = zstandard.ZstdCompressor(level=1).compress(raw)
    head = struct.pack(
        "<BBHIII", kind, codec, 0, len(stored), len(raw), zlib.crc32(stored)
    )
    return head + stored


def write_snapshot(path: Path, builder: GraphBuilder, **options: object) -> Path:
    """Write a builder's graph as a snapshot file."""
    path.write_bytes(snapshot_bytes(builder.stream(), **options))  # type: ignore[arg-type]
    return path
