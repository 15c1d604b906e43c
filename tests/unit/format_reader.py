"""A reader of snapshot files made from FORMAT.md alone, with the standard library.

It shares no line and no constant with the product, so that the page, the reader and
the decoder can each be wrong only by themselves. It is slow and believes its input.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Object:
    """An object or a frame: (kind, name, target address) for each present ref."""

    address: int
    type: str
    size: int
    refcount: int
    refs: list[tuple[str, str, int]] = field(default_factory=list)
    code: int = 0
    line: int = 0


@dataclass
class RootRecord:
    kind: int
    id: int
    name: str
    number: int
    flags: int
    refs: list[tuple[str, int]]


@dataclass
class File:
    """Everything that a snapshot file says."""

    header: dict[str, Any]
    trailer: dict[str, Any] | None
    objects: dict[int, Object] = field(default_factory=dict)
    roots: list[RootRecord] = field(default_factory=list)
    types: dict[int, dict[str, Any]] = field(default_factory=dict)
    codes: dict[int, dict[str, Any]] = field(default_factory=dict)
    strings: dict[int, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    hashes: dict[int, tuple[str, int, bytes]] = field(default_factory=dict)
    previews: dict[int, tuple[str, int, str]] = field(default_factory=dict)
    end: tuple[int, int, int] | None = None
    n_refs: int = 0


def read(path: Path) -> File:
    """Read a whole file."""
    return parse(path.read_bytes())


def parse(data: bytes) -> File:
    """Read a whole file from memory."""
    assert data[:8] == bytes.fromhex("93 4C 48 53 4E 41 50 0A")
    major = struct.unpack_from("<H", data, 8)[0]
    assert major in (1, 2, 3)
    at, header, trailer, stream = 12, None, None, b""
    while at < len(data):
        assert trailer is None, "bytes follow the trailer"
        kind, codec, zero, stored, raw, crc = struct.unpack_from("<BBHIII", data, at)
        payload = data[at + 16 : at + 16 + stored]
        at += 16 + stored
        assert zero == 0
        assert len(payload) == stored
        assert zlib.crc32(payload) == crc
        if codec == 1:
            import zstandard

            payload = zstandard.ZstdDecompressor().decompress(payload)
        assert len(payload) == raw <= 4 * 1024 * 1024
        if kind == 1:
            header = json.loads(payload)
        elif kind == 2:
            stream += payload
        elif kind == 3:
            trailer = json.loads(payload)
    assert header is not None
    if trailer is not None:
        assert trailer["raw_length"] == len(stream)
        assert trailer["raw_sha256"] == hashlib.sha256(stream).hexdigest()
    file = File(header, trailer)
    _Stream(stream, file).read()
    assert major in (2, 3) or not file.hashes
    assert (major == 3 and header["scope"] == "values") or not file.previews
    return file


class _Stream:
    def __init__(self, data: bytes, file: File) -> None:
        self.data = data
        self.file = file
        self.at = 0
        self.texts = [""]
        self.previous_node = 0
        self.previous_string = 0
        self.previous_preview = 0
        self.previous_target = 0

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def zz(self) -> int:
        return self.unzigzag(self.varint())

    @staticmethod
    def unzigzag(value: int) -> int:
        return value // 2 if value % 2 == 0 else -(value + 1) // 2

    def text(self) -> str:
        return self.texts[self.varint()]

    def bytes(self) -> str:
        length = self.varint()
        self.at += length
        return self.data[self.at - length : self.at].decode()

    def ref(self) -> int:
        """Return the address of a ref's target, 0 if it is absent."""
        value = self.varint()
        if value == 0:
            return 0
        self.previous_target += self.unzigzag(value - 1)
        self.file.n_refs += 1
        return self.previous_target * 8

    def read(self) -> None:
        while self.at < len(self.data):
            assert self.file.end is None, "records follow END"
            head = self.varint()
            value, tag = head >> 3, head & 7
            if tag == 7:
                self.meta(value)
            elif tag == 6:
                self.root(value)
            else:
                self.object(tag, value)

    def object(self, tag: int, type_id: int) -> None:
        self.previous_node += self.zz()
        self.previous_target = self.previous_node
        fields = ["frame_obj", "f_func", "f_locals"]
        name = "frame"
        if type_id:
            kind = self.file.types[type_id]
            fields = kind["fields"]
            name = f"{kind['module']}.{kind['qualname']}"
        made = Object(self.previous_node * 8, name, self.varint(), self.varint())
        assert made.address not in self.file.objects
        self.file.objects[made.address] = made
        if tag == 1:
            self.items(made, self.varint())
        elif tag == 2:
            self.pairs(made, self.varint())
        elif tag == 3:
            self.named(made, self.varint(), fields)
        elif tag == 4:
            form, n = self.varint(), self.varint()
            (self.pairs if form == 2 else self.items)(made, n)
            self.named(made, self.varint(), fields)
        elif tag == 5:
            made.code = self.ref()
            made.line = self.varint()
            for i in range(self.varint()):
                self.add(made, "local", str(i), self.ref())
            self.named(made, self.varint(), fields)
            for _ in range(self.varint()):
                self.add(made, "borrowed", str(self.varint()), self.ref())

    def items(self, made: Object, n: int) -> None:
        for i in range(n):
            self.add(made, "item", str(i), self.ref())

    def pairs(self, made: Object, n: int) -> None:
        for _ in range(n):
            key = self.ref()
            self.add(made, "key", "", key)
            self.add(made, "value", str(key), self.ref())

    def named(self, made: Object, n: int, fields: list[str]) -> None:
        for i in range(n):
            name = fields[i] if i < len(fields) else ""
            self.add(made, "field", name, self.ref())

    @staticmethod
    def add(made: Object, kind: str, name: str, target: int) -> None:
        if target:
            made.refs.append((kind, name, target))

    def root(self, kind: int) -> None:
        id_, name, number, flags = (
            self.varint(),
            self.text(),
            self.varint(),
            self.varint(),
        )
        self.previous_target = id_
        refs = [(self.text(), self.ref()) for _ in range(self.varint())]
        refs = [(text, target) for text, target in refs if target]
        self.file.roots.append(RootRecord(kind, id_, name, number, flags, refs))

    def meta(self, kind: int) -> None:
        if kind == 0:
            self.file.end = (self.varint(), self.varint(), self.varint())
        elif kind == 1:
            id_ = self.varint()
            assert id_ == len(self.file.types) + 1
            address, flags, basicsize, itemsize = (self.varint() for _ in range(4))
            module, qualname = self.text(), self.text()
            fields = []
            for _ in range(self.varint()):
                assert self.varint() in (1, 2, 3)
                fields.append(self.text())
            self.file.types[id_] = {
                "address": address * 8,
                "flags": flags,
                "basicsize": basicsize,
                "itemsize": itemsize,
                "module": module,
                "qualname": qualname,
                "fields": fields,
            }
        elif kind == 2:
            self.texts.append(self.bytes())
        elif kind == 3:
            self.previous_string += self.zz()
            self.file.strings[self.previous_string * 8] = self.bytes()
        elif kind == 4:
            address = self.varint() * 8
            qualname, filename = self.text(), self.text()
            first_line, n_free = self.varint(), self.varint()
            self.file.codes[address] = {
                "qualname": qualname,
                "filename": filename,
                "first_line": first_line,
                "n_free": n_free,
                "locals": [self.text() for _ in range(self.varint())],
            }
        elif kind == 5:
            self.file.warnings.append(self.text())
        elif kind == 7:
            assert self.previous_node * 8 not in self.file.hashes
            what = {1: "str", 2: "bytes"}[self.varint()]
            length = self.varint()
            self.at += 8
            hashed = self.data[self.at - 8 : self.at]
            self.file.hashes[self.previous_node * 8] = (what, length, hashed)
        elif kind == 8:
            self.previous_preview += self.zz()
            what = ["", "str", "bytes", "bytearray", "int", "float"][self.varint()]
            assert self.previous_preview * 8 not in self.file.previews
            told = (what, self.varint(), self.bytes())
            self.file.previews[self.previous_preview * 8] = told
        else:
            raise AssertionError(f"META of kind {kind}")
