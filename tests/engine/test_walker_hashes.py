"""Contents as hashes: equal where contents are equal, and nothing else of them."""

from collections.abc import Iterator

import pytest
import stream
import walks

from liveheap import _heap

KEY = bytes.fromhex("9e3779b97f4a7c15f39cc0605cedc834")
STR, BYTES = 1, 2
WORD = (1 << 64) - 1
CANARY = "".join(("canary of ", "thirty characters ", "or so"))


class Text(str):
    """A str whose characters lie apart from its head."""


class Slim(str):
    __slots__ = ()


class Blob(bytes):
    pass


def fresh(content: str) -> str:
    """Return an equal str that is another object."""
    return "".join(list(content)) if len(content) > 1 else content


CONTENTS = [
    "",
    "a",
    "ascii of some length",
    "1234567",
    "12345678",
    "latin \xe9\xff",
    "\u0416 of two bytes",
    "\U0001f40d of four",
    "lone \ud800 surrogate",
    "\udcff",
    CANARY,
    b"",
    b"ascii of some length",
    b"\x00\xff" * 1000,
    "\xe9" * 100_000,
]
TWINS = [
    fresh(each) if isinstance(each, str) else bytes(bytearray(each))
    for each in CONTENTS
]
SUBCLASSED = [Text(CANARY), Slim(CANARY), Text("\U0001f40d of four")]
BLOB = Blob(b"ascii of some length")
INTERNED = "interned_name_of_a_test"


@pytest.fixture(scope="module")
def raw() -> bytes:
    return walks.raw_child(hash_key=KEY)


@pytest.fixture(scope="module")
def graph(raw: bytes) -> stream.Graph:
    return walks.decode(raw)


def words(message: bytes) -> Iterator[int]:
    whole = len(message) // 8 * 8
    for at in range(0, whole, 8):
        yield int.from_bytes(message[at : at + 8], "little")
    yield int.from_bytes(message[whole:], "little") | (len(message) & 255) << 56


def siphash13(key: bytes, message: bytes) -> int:
    """SipHash-1-3, written from the paper."""
    k0, k1 = (int.from_bytes(key[at : at + 8], "little") for at in (0, 8))
    v = [
        k0 ^ 0x736F6D6570736575,
        k1 ^ 0x646F72616E646F6D,
        k0 ^ 0x6C7967656E657261,
        k1 ^ 0x7465646279746573,
    ]

    def mix(a: int, b: int, bits: int, turn: int) -> None:
        v[a] = (v[a] + v[b]) & WORD
        v[b] = ((v[b] << bits | v[b] >> 64 - bits) & WORD) ^ v[a]
        v[a] = (v[a] << turn | v[a] >> 64 - turn) & WORD

    def sip() -> None:
        mix(0, 1, 13, 32)
        mix(2, 3, 16, 0)
        mix(0, 3, 21, 0)
        mix(2, 1, 17, 32)

    for word in words(message):
        v[3] ^= word
        sip()
        v[0] ^= word
    v[2] ^= 0xFF
    for _ in range(3):
        sip()
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def expected(content: str | bytes, key: bytes = KEY) -> int:
    if isinstance(content, bytes):
        return siphash13(key, bytes(8) + content)
    most = max(map(ord, content), default=0)
    width, codec = (1, "latin-1") if most < 256 else (2, "utf-16-le")
    if most > 0xFFFF:
        width, codec = 4, "utf-32-le"
    message = width.to_bytes(8, "little") + content.encode(codec, "surrogatepass")
    return siphash13(key, message)


def record(content: str, key: bytes = KEY) -> bytes:
    """Return the HASH record of a short str."""
    head = bytes((7 << 3 | 7, STR, len(content)))
    return head + expected(content, key).to_bytes(8, "little")


@pytest.mark.parametrize("content", CONTENTS[:-2], ids=ascii)
def test_a_hash_is_of_kind_width_and_contents(graph, content):
    kind = STR if isinstance(content, str) else BYTES
    assert graph.hashes[id(content)] == (kind, len(content), expected(content))


def test_a_record_is_what_the_format_says(raw):
    assert record(CANARY) in raw


def test_equal_contents_have_equal_hashes_and_no_others(graph):
    first = [graph.hashes[id(each)] for each in CONTENTS]
    second = [graph.hashes[id(each)] for each in TWINS]
    assert sum(a is not b for a, b in zip(CONTENTS, TWINS, strict=True)) >= 10
    assert first == second
    assert len(set(first)) == len(CONTENTS)


def test_contents_of_a_subclass_equal_those_of_its_base(graph):
    plain = graph.hashes[id(CANARY)]
    assert graph.hashes[id(SUBCLASSED[0])] == plain
    assert graph.hashes[id(SUBCLASSED[1])] == plain
    assert graph.hashes[id(SUBCLASSED[2])] == graph.hashes[id(CONTENTS[7])]
    assert graph.hashes[id(BLOB)] == graph.hashes[id(CONTENTS[12])]


def test_an_interned_str_has_the_hash_of_its_contents(graph):
    assert graph.hashes[id(INTERNED)] == (STR, len(INTERNED), expected(INTERNED))


def test_every_str_and_bytes_has_one_and_nothing_else_has(graph):
    hashed = {
        name: {node.address for node in graph.of_type(name)}
        for name in ("str", "bytes", "Text", "Slim", "Blob")
    }
    assert all(hashed.values())
    assert set().union(*hashed.values()) <= graph.hashes.keys()
    others = graph.of_type("int") + graph.of_type("dict") + graph.of_type("bytearray")
    assert not graph.hashes.keys() & {node.address for node in others}


def test_nothing_of_the_contents_or_the_key_is_in_the_stream(raw):
    for text in (CANARY, CANARY[:12], CANARY[-12:]):
        for encoding in ("utf-8", "utf-16-le", "utf-32-le"):
            assert text.encode(encoding) not in raw
    assert KEY not in raw
    assert KEY[:8] not in raw


def test_another_key_gives_other_hashes_and_none_gives_none():
    other = bytes(reversed(KEY))
    by_key, by_other = record(CANARY), record(CANARY, other)
    assert by_other in walks.raw_here(hash_key=other)
    assert by_key not in walks.raw_here(hash_key=other)
    assert by_key not in walks.raw_here(hash_key=None)


@pytest.mark.parametrize("key", [b"", bytes(15), bytes(17), "x" * 16, 5])
def test_what_is_no_key_is_refused(key):
    with pytest.raises(ValueError, match="16 bytes"):
        _heap.walk_here(-1, "graph", {"hash_key": key})
