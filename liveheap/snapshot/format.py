"""The constants of the snapshot file, under the names FORMAT.md gives them.

FORMAT.md is the contract; this module is that page in Python, and a test compares
the two. Nothing here reads or writes. The C side has the same numbers in the walker
and in `_graph`; a golden file holds all of them together.
"""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag

MAGIC = b"\x93LHSNAP\n"
MAJOR = 1
MINOR = 0
MAJOR_WITH_HASHES = 2
MAJOR_WITH_PREVIEWS = 3
MAJORS = (MAJOR, MAJOR_WITH_HASHES, MAJOR_WITH_PREVIEWS)

FILE_HEAD = struct.Struct("<8sHH")
BLOCK_HEAD = struct.Struct("<BBHIII")

MAX_RAW_LENGTH = 4 * 1024 * 1024
MAX_STORED_LENGTH = MAX_RAW_LENGTH + 64 * 1024
FIRST_SKIPPABLE_KIND = 128

ADDRESS_UNIT = 8
FIRST_OBJECT_ADDRESS = 1 << 16


class BlockKind(IntEnum):
    """What a block carries."""

    HEADER = 1
    RECORDS = 2
    TRAILER = 3


class Codec(IntEnum):
    """How a block's payload is stored."""

    STORED = 0
    ZSTD = 1


class Tag(IntEnum):
    """The low three bits of a record's first varint."""

    LEAF = 0
    ITEMS = 1
    PAIRS = 2
    FIELDS = 3
    COMPOUND = 4
    FRAME = 5
    ROOT = 6
    META = 7


class Form(IntEnum):
    """What the first section of a COMPOUND record is."""

    ITEMS = 1
    PAIRS = 2
    SET = 3


class RootKind(IntEnum):
    """Where reachability starts."""

    INTERPRETER = 1
    THREAD = 2
    GREENLET = 3
    INTERNED = 4
    C = 5


class RootFlag(IntFlag):
    """Flags of a ROOT record."""

    MAIN_THREAD = 1
    OWN = 2


class Meta(IntEnum):
    """The kinds of META record."""

    END = 0
    TYPE = 1
    TEXT = 2
    STRING = 3
    CODE = 4
    WARNING = 5
    COUNT = 6
    HASH = 7
    PREVIEW = 8


class Content(IntEnum):
    """What HASH and PREVIEW are of; the first two are common to both."""

    STR = 1
    BYTES = 2
    BYTEARRAY = 3
    INT = 4
    FLOAT = 5


class TypeFlag(IntFlag):
    """Flags of a TYPE record."""

    HEAP = 1
    TRACKED = 2
    STATIC = 4
    OWN = 8
    DICT = 16
    EXCEPTION = 32
    METATYPE = 64


class FieldKind(IntEnum):
    """What sort of name a field has."""

    ATTRIBUTE = 1
    SLOT = 2
    INTERNAL = 3
