"""Contents under scope values: what is told, and what no name lets out."""

import collections
import dataclasses
import enum
import functools
import math
import types

import pytest
import stream
import walks

STR, BYTES, BYTEARRAY, INT, FLOAT = 1, 2, 3, 4, 5
MARK = "".join(("GUAR", "DED"))
OPEN = "".join(("CAR", "ROT"))
GUARDED: list[int] = []
SHOWN: list[str] = []


def hidden(kind: str) -> str:
    """A text that nothing may tell; the list would hold it by a name that may."""
    GUARDED.append(len(kind))
    return f"{MARK} {kind}"


def shown(kind: str) -> str:
    """A text that is to be told."""
    SHOWN.append(f"{OPEN} {kind}")
    return SHOWN[-1]


class Bag:
    """An instance with attributes."""

    def __init__(self, **held: object) -> None:
        self.__dict__.update(held)


class Slotted:
    __slots__ = ("auth_header", "note")


@dataclasses.dataclass
class Login:
    user: str
    passphrase: str


class Credentials:
    """Its name says that its attributes are nobody's business."""

    def __init__(self) -> None:
        self.pair = (hidden("in an instance of such a class"),)
        self.more = {hidden("key in one"): [hidden("value in one")]}


class SecretText(str):
    pass


class Note(str):
    pass


class Mode(enum.Enum):
    SECRET_CODE = hidden("enum")
    PLAIN = shown("enum")


def closing(password: object, remark: object):
    return lambda: (password, remark)


def defaults(plain, api_key=hidden("default"), remark=shown("default")):  # noqa: B008
    return plain, api_key, remark


def waiting(session_id: object, remark: object):
    yield
    return session_id, remark


def slotted() -> Slotted:
    made = Slotted()
    made.auth_header, made.note = hidden("slot"), shown("slot")
    return made


def running() -> types.GeneratorType:
    made = waiting(hidden("local"), shown("local"))
    next(made)
    return made


def of_two_names() -> list[object]:
    """Texts that a list or an attribute holds, too, whose name says nothing."""
    twice, later = hidden("value with two names"), hidden("known by a later name")
    return [Bag(remark=twice, token=twice), [later], {"zz_secret": later}]


HELD = [
    Bag(name=shown("attribute"), password=hidden("attribute")),
    Bag(**{"Api-Token": hidden("attribute that is no identifier")}),
    Login(shown("field"), hidden("field")),
    slotted(),
    Credentials(),
    SecretText(hidden("subclass")),
    Note(shown("subclass")),
    {shown("label"): shown("value"), "session_cookie": hidden("value")},
    {f"{OPEN}-Auth": hidden("below a key that is data"), 1: shown("beside it")},
    {b"authorization": hidden("bytes").encode(), b"host": shown("bytes").encode()},
    [(b"cookie", hidden("pair").encode()), ["Set-Cookie", hidden("list pair")]],
    {"tokens": {hidden("inner key"): [hidden("list"), (hidden("tuple"),)]}},
    {"credentials": collections.deque([{hidden("in a deque")}])},
    {"secrets": types.MappingProxyType({"of": hidden("proxy")})},
    {"keys": functools.partial(print, hidden("partial"))},
    closing(hidden("cell"), shown("cell")),
    defaults,
    running(),
    types.SimpleNamespace(passwd=hidden("namespace"), memo=shown("namespace")),
    Bag(auth=Bag(who=hidden("attribute of an attribute"), deep=Bag(x=shown("deeper")))),
    of_two_names(),
    collections.OrderedDict([("keyring", hidden("ordered"))]),
    collections.UserDict({"passport": hidden("user dict")}),
    f"password={hidden('told in a text')}",
    f'{{"session": "{hidden("told in JSON")}"}}',
    f"https://me:{hidden('in a URL')}@host/",
    bytearray(hidden("bytearray").encode() + b" auth: x"),
    bytearray(shown("bytearray").encode()),
    Mode,
]
LONG = "ä" * 70
NUMBERS = {
    "zero": 0,
    "negative": -(10**15) - 7,
    "most": 2**63 - 1,
    "least": -(2**63),
    "beyond": 2**63 + 12345,
    "float": 1.1 * 3,
    "tiny": 5e-324,
    "huge": -1.7976931348623157e308,
    "infinite": -math.inf,
    "none": math.nan,
}
BIG = {f"{OPEN} big {i}": i * 1000.25 for i in range(5_000)}
BIG["pass_through"] = 123456.75
TEXTS = [LONG, "\ud800 lone", "\U0001f40d" * 80, "\x1b[31m\u202e", b"\x00\xff" * 50]


@pytest.fixture(scope="module")
def raw() -> bytes:
    return walks.raw_child(values=True, hash_key=bytes(16))


@pytest.fixture(scope="module")
def graph(raw: bytes) -> stream.Graph:
    return walks.decode(raw)


def test_what_no_name_forbids_is_told(graph):
    told = {text for _, _, text in graph.previews.values()}
    assert [each for each in SHOWN if each not in told] == []
    assert len(SHOWN) >= 15
    assert all(id(each) in graph.hashes for each in SHOWN)


def test_what_a_name_forbids_is_nowhere(raw):
    for encoding in ("utf-8", "utf-16-le", "utf-32-le"):
        assert f"{MARK} ".encode(encoding) not in raw
    assert len(GUARDED) > 30


def test_without_scope_values_no_content_is_in_the_stream():
    for key in (None, bytes(16)):
        raw = walks.raw_child(hash_key=key)
        assert f"{OPEN} ".encode() not in raw
        assert f"{MARK} ".encode() not in raw


def test_numbers_are_exact(graph):
    told = {name: graph.previews.get(id(number)) for name, number in NUMBERS.items()}
    for name in ("negative", "most", "least"):
        assert told[name] == (INT, 0, str(NUMBERS[name])), name
    assert told["beyond"] is None
    for name in ("float", "tiny", "huge", "infinite", "none"):
        kind, length, text = told[name]
        assert (kind, length) == (FLOAT, 0)
        assert repr(float.fromhex(text)) == repr(NUMBERS[name]), name


def test_a_text_is_cut_between_characters_and_its_length_is_told(graph):
    kinds = [graph.previews[id(text)] for text in TEXTS]
    assert kinds[0] == (STR, 70, "ä" * 64)
    assert kinds[1] == (STR, 6, "\ufffd lone")
    assert kinds[2] == (STR, 80, "\U0001f40d" * 64)
    assert kinds[3] == (STR, 6, "\x1b[31m\u202e")
    assert kinds[4] == (BYTES, 100, "\x00ÿ" * 32)


def test_the_keys_of_a_dict_that_is_read_in_pieces_are_names_too(graph):
    assert graph.previews.get(id(BIG["pass_through"])) is None
    keys = [key for key in BIG if key != "pass_through"]
    assert all(graph.previews[id(key)] == (STR, len(key), key) for key in keys)


def test_a_bool_is_no_number_and_a_subclass_is_its_base(graph):
    assert id(True) not in graph.previews
    assert graph.previews[id(HELD[6])] == (STR, len(HELD[6]), str(HELD[6]))
