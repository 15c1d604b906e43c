"""The ELF files that a process has mapped: their symbols, and their unused bytes.

Read from the process's own memory, where the dynamic linker needs the same tables: that
holds in every mount namespace, for libraries that an upgrade has deleted from the disk,
for any C library, and whatever path the process claims. Only what is not loaded, the
full symbol table of a static executable, is read from its file, through a link that
leads to that file and no other.

All of it may be garbage made on purpose. Nothing is believed that does not lie within
the mappings of its own file; every table and loop has a limit. The worst that a hostile
process gets is that *it* jumps somewhere in itself.

A tail is what lies between the end of an executable segment and the end of its last
page: mapped, executable, and part of no code.
"""

from __future__ import annotations

import mmap
import os
import re
import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

PAGE = 4096
X86_64 = 62
_MAX_HEADERS = 64
_MAX_DYNAMIC = 512
_MAX_CHAIN = 65_536
_MAX_SECTIONS = 16_384
_MAX_SYMBOLS = 8_000_000
_ET_DYN = 3
_PT_LOAD, _PT_DYNAMIC = 1, 2
_PF_X = 1
_SHT_SYMTAB = 2
_DT_HASH, _DT_STRTAB, _DT_SYMTAB, _DT_STRSZ, _DT_GNU_HASH = 4, 5, 6, 10, 0x6FFFFEF5
_OBJECT, _FUNCTION = 1, 2
_SYMBOL = struct.Struct("<IBBHQQ")
_LINE = re.compile(
    rb"([0-9a-f]+)-([0-9a-f]+) (....) ([0-9a-f]+) (\S+) (\d+) *(.*)", re.DOTALL
)


class Garbage(Exception):
    """This is no ELF file that we can read; look at the next."""


class Reader(Protocol):
    """The memory of a process."""

    def read(self, address: int, size: int) -> bytes:
        """Return exactly so many bytes.

        Raises:
            Garbage: they are not all there.
        """
        ...


@dataclass(frozen=True, slots=True)
class Mapping:
    """One line of /proc/PID/maps."""

    start: int
    end: int
    rights: str
    offset: int
    file: tuple[str, int]  # device and inode, (..., 0) if there is no file
    path: str

    @property
    def is_private_code(self) -> bool:
        """Whether it is executable, and a write to it stays in the process."""
        return self.rights[2:4] == "xp" and self.file[1] != 0


@dataclass(frozen=True, slots=True)
class Segment:
    """One PT_LOAD, where it is in memory."""

    start: int
    end: int
    executable: bool


@dataclass(frozen=True, slots=True)
class Module:
    """A mapped ELF file."""

    base: int
    bias: int
    path: str
    mappings: tuple[Mapping, ...]
    segments: tuple[Segment, ...]
    dynamic: int  # its address, or 0

    def holds(self, address: int) -> bool:
        """Whether an address lies in one of its segments."""
        return any(each.start <= address < each.end for each in self.segments)


def read_maps(text: bytes) -> tuple[Mapping, ...]:
    """Return the mappings that a /proc/PID/maps lists."""
    found = []
    for line in text.split(b"\n"):
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        start, end, rights, offset, device, inode, path = match.groups()
        found.append(
            Mapping(
                int(start, 16),
                int(end, 16),
                rights.decode("ascii", "replace"),
                int(offset, 16),
                (device.decode("ascii", "replace"), int(inode)),
                os.fsdecode(path),
            )
        )
    return tuple(found)


def modules(memory: Reader, mappings: Iterable[Mapping]) -> Iterator[Module]:
    """Yield the ELF files that are mapped, in the order of their addresses."""
    groups: dict[tuple[tuple[str, int], str], list[Mapping]] = {}
    for each in mappings:
        if each.file[1]:
            groups.setdefault((each.file, each.path), []).append(each)
    for (_, path), group in groups.items():
        for first in (each for each in group if each.offset == 0):
            with suppress(Garbage, struct.error):
                yield _module(memory, first, path, tuple(group))
                break


def _module(
    memory: Reader, first: Mapping, path: str, group: tuple[Mapping, ...]
) -> Module:
    head = memory.read(first.start, 64)
    if head[:7] != b"\x7fELF\x02\x01\x01":
        raise Garbage
    kind, machine = struct.unpack_from("<HH", head, 16)
    (headers,) = struct.unpack_from("<Q", head, 32)
    size, count = struct.unpack_from("<HH", head, 54)
    if machine != X86_64 or size != 56 or not 0 < count <= _MAX_HEADERS:
        raise Garbage
    if not 64 <= headers < PAGE * 16:
        raise Garbage
    table = memory.read(first.start + headers, 56 * count)
    rows = [struct.unpack_from("<IIQQQQQQ", table, 56 * i) for i in range(count)]
    loads = [row for row in rows if row[0] == _PT_LOAD and row[6]]
    if not loads or loads[0][2] >= PAGE:
        raise Garbage
    bias = first.start - (loads[0][3] & -PAGE) if kind == _ET_DYN else 0
    segments = tuple(
        Segment(bias + row[3], bias + row[3] + row[6], bool(row[1] & _PF_X))
        for row in loads
    )
    if any(each.start < first.start or each.end >= 1 << 47 for each in segments):
        raise Garbage
    dynamic = [bias + row[3] for row in rows if row[0] == _PT_DYNAMIC]
    return Module(
        first.start, bias, path, group, segments, dynamic[0] if dynamic else 0
    )


class Symbols:
    """The dynamic symbols of a module, found by name through its hash table."""

    def __init__(self, memory: Reader, module: Module) -> None:
        self._memory = memory
        self._module = module
        tags = self._tags()
        self._symbols = self._address(tags.get(_DT_SYMTAB))
        self._strings = self._address(tags.get(_DT_STRTAB))
        self._strings_bytes = tags.get(_DT_STRSZ, 0)
        self._gnu = tags.get(_DT_GNU_HASH)
        self._sysv = tags.get(_DT_HASH)

    def find(self, name: str) -> int | None:
        """Return the address of what the module defines by this name."""
        raw = name.encode("ascii")
        look = self._by_gnu_hash if self._gnu is not None else self._by_sysv_hash
        for index in look(raw):
            found = self._symbol(index, raw)
            if found is not None:
                return found
        return None

    def _tags(self) -> dict[int, int]:
        if not self._module.dynamic:
            raise Garbage
        tags: dict[int, int] = {}
        for index in range(_MAX_DYNAMIC):
            raw = self._memory.read(self._module.dynamic + 16 * index, 16)
            tag, value = struct.unpack("<QQ", raw)
            if tag == 0:
                return tags
            tags.setdefault(tag, value)
        raise Garbage

    def _address(self, value: int | None) -> int:
        """Return where a table is: glibc has relocated the tag, musl has not."""
        for address in (value, None if value is None else value + self._module.bias):
            if address is not None and self._module.holds(address):
                return address
        raise Garbage

    def _by_gnu_hash(self, name: bytes) -> Iterator[int]:
        table = self._address(self._gnu)
        raw = self._memory.read(table, 16)
        n_buckets, first, n_bloom, _ = struct.unpack("<IIII", raw)
        if not n_buckets:
            return
        value = 5381
        for char in name:
            value = (value * 33 + char) & 0xFFFFFFFF
        buckets = table + 16 + 8 * n_bloom
        index = self._word(buckets + 4 * (value % n_buckets))
        if index < first:
            return
        chains = buckets + 4 * n_buckets
        for at in range(index, index + _MAX_CHAIN):
            link = self._word(chains + 4 * (at - first))
            if link | 1 == value | 1:
                yield at
            if link & 1:
                return

    def _by_sysv_hash(self, name: bytes) -> Iterator[int]:
        table = self._address(self._sysv)
        n_buckets, n_chains = struct.unpack("<II", self._memory.read(table, 8))
        if not n_buckets:
            return
        value = 0
        for char in name:
            value = (value << 4) + char
            high = value & 0xF0000000
            value = (value ^ high >> 24) & ~high & 0xFFFFFFFF
        index = self._word(table + 8 + 4 * (value % n_buckets))
        for _ in range(_MAX_CHAIN):
            if not 0 < index < n_chains:
                return
            yield index
            index = self._word(table + 8 + 4 * (n_buckets + index))

    def _word(self, address: int) -> int:
        return int.from_bytes(self._memory.read(address, 4), "little")

    def _symbol(self, index: int, name: bytes) -> int | None:
        raw = self._memory.read(self._symbols + 24 * index, 24)
        at, info, _, section, value, _ = _SYMBOL.unpack(raw)
        if not section or not value or info & 15 not in (_OBJECT, _FUNCTION):
            return None
        if at + len(name) >= self._strings_bytes:
            return None
        if self._memory.read(self._strings + at, len(name) + 1) != name + b"\0":
            return None
        address = int(value + self._module.bias)
        return address if self._module.holds(address) else None


def symbols_of_file(fd: int, module: Module, names: Iterable[str]) -> dict[str, int]:
    """Return the addresses of those names that the file's own symbol table has.

    Raises:
        Garbage: it cannot be read.
    """
    try:
        with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as file:
            return dict(_in_file(file, module, tuple(names)))
    except (OSError, ValueError, struct.error, IndexError, OverflowError) as error:
        raise Garbage from error


def _in_file(
    file: mmap.mmap, module: Module, names: tuple[str, ...]
) -> Iterator[tuple[str, int]]:
    (table,) = struct.unpack_from("<Q", file, 40)
    size, count = struct.unpack_from("<HH", file, 58)
    if file[:4] != b"\x7fELF" or size != 64 or count > _MAX_SECTIONS:
        raise Garbage
    rows = [struct.unpack_from("<IIQQQQII", file, table + 64 * i) for i in range(count)]
    for row in (each for each in rows if each[1] == _SHT_SYMTAB):
        start, length, link = row[4:7]
        strings, strings_bytes = rows[link][4:6]
        if length > _MAX_SYMBOLS * 24 or start + length > len(file):
            raise Garbage
        wanted = {}
        for name in names:
            for at in _occurrences(file, name, strings, strings + strings_bytes):
                wanted[at - strings] = name
        for at, info, _, section, value, _ in _SYMBOL.iter_unpack(
            file[start : start + length // 24 * 24]
        ):
            if at in wanted and section and info & 15 in (_OBJECT, _FUNCTION):
                address = value + module.bias
                if module.holds(address):
                    yield wanted[at], address


def _occurrences(file: mmap.mmap, name: str, start: int, end: int) -> Iterator[int]:
    """Yield where a name ends a string: linkers let one be the tail of another."""
    raw = name.encode("ascii") + b"\0"
    at = file.find(raw, start, end)
    while at >= 0:
        yield at
        at = file.find(raw, at + 1, end)


def tails(module: Module) -> Iterator[tuple[int, int]]:
    """Yield where unused bytes at the ends of executable segments start, and end."""
    code = [each for each in module.mappings if each.is_private_code]
    starts = [each.start for each in code]
    for segment in module.segments:
        index = bisect_right(starts, segment.end - 1) - 1
        if not segment.executable or index < 0 or segment.end - 1 >= code[index].end:
            continue
        start, end = -(-segment.end // 16) * 16, code[index].end
        if start < end <= segment.end + PAGE:
            yield start, end
