"""What may be asked of a copy under scope values; no code of the worker runs."""

from __future__ import annotations

import collections
import types
from collections.abc import Callable
from typing import Any

import pytest

from liveheap.clone import showing
from liveheap.clone.completing import expression
from liveheap.clone.expressions import Evaluator, Refused, parse


class Trap(Exception):
    """Code of the worker ran."""


class Host:
    """An object of a worker whose every piece of code is a trap."""

    __slots__ = ("__dict__", "slot")

    def __init__(self) -> None:
        self.slot = "in a slot"
        self.plain = [1, 2, 3]
        self.password = "hunter2"

    def _trap(self, *_: object) -> Any:
        raise Trap

    lazy = property(_trap)
    __repr__ = __str__ = __len__ = __getitem__ = __getattr__ = _trap  # type: ignore[assignment]
    __call__ = __add__ = __invert__ = __bool__ = __iter__ = _trap


class Mapping(dict):  # type: ignore[type-arg]
    def __getitem__(self, _key: object) -> Any:
        raise Trap

    __missing__ = __getitem__


class Name(str):
    __slots__ = ()


class Key:
    """A key of a worker's dict that would be asked whether it is another."""

    armed = False

    def __hash__(self) -> int:
        if self.armed:
            raise Trap
        return hash(5)

    def __eq__(self, _other: object) -> bool:
        raise Trap

    def __index__(self) -> int:
        raise Trap


OBJGRAPH = types.ModuleType("objgraph")


def find_backref_chain(obj: Any, predicate: Callable[[Any], bool]) -> list[Any]:
    assert predicate is OBJGRAPH.__dict__["is_proper_module"]
    return [OBJGRAPH, obj]


OBJGRAPH.__dict__.update(
    by_type=lambda _name: [HOST],
    count=lambda _name, _objects=None: 3,
    is_proper_module=lambda _value: True,
    find_backref_chain=find_backref_chain,
    show_backrefs=lambda *_args, **_named: None,
    os="the module of that name",
)
HOST = Host()
KEY = Key()
KEYED = {KEY: "under a key", "a": 1, b"set-cookie": b"T"}
KEY.armed = True


@pytest.fixture
def ask() -> Callable[[str], str]:
    evaluator = Evaluator({"objgraph": OBJGRAPH, "hp": None, "h": None}.__getitem__)
    evaluator.names["host"] = HOST
    evaluator.names["items"] = Mapping(a=1, api_token="T", nested={"session": "S"})
    evaluator.names["queue"] = collections.deque([4, 5])
    evaluator.names["key"], evaluator.names["keyed"] = KEY, KEYED
    evaluator.names["names"] = {Name("of"): 1, Name("api_key"): "T", True: 2, 2.5: 3}
    evaluator.names["headers"] = [(b"Cookie", b"T"), [b"path", b"/"], ("Token", 12)]
    evaluator.names["made"] = collections.defaultdict(list)

    def answer(text: str) -> str:
        tree = parse(text, whole=True)
        return "\n".join(showing.brief(each) for each in evaluator.run(tree))

    return answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("1 + 2", "3"),
        ("-1 < 2", "True"),
        ("'a' + 'b'", "'ab'"),
        ("(1, 2)[0]", "1"),
        ("[1, 2, 3][1:]", "[2, 3]"),
        ("x = 5\nx - 1", "4"),
        ("host.slot", "'in a slot'"),
        ("host.plain[0]", "1"),
        ("len(host.plain)", "3"),
        ("items['a']", "1"),
        ("len(items)", "3"),
        ("queue[1]", "5"),
        ("keyed['a']", "1"),
        ("names['of']", "1"),
        ("names[1]", "2"),
        ("names[2.5]", "3"),
        ("headers[0][0]", "b'Cookie'"),
        ("headers[1][1]", "b'/'"),
        ("headers", "[(b'Cookie', <hidden>), [b'path', b'/'], ('Token', 12)]"),
        ("objgraph.count('Row')", "3"),
        ("objgraph.by_type('Row')[0].plain", "[1, 2, 3]"),
        ("objgraph.find_backref_chain(host, objgraph.is_proper_module)[1].slot",
         "'in a slot'"),
        ("objgraph.show_backrefs(*[host], max_depth=3)", ""),
        ("objgraph.show_backrefs([host, key], 3, [1, 2])", ""),
        ("objgraph.count('Row', [key])", "3"),
    ],
)  # fmt: skip
def test_what_may_be_asked(ask, text, answer):
    assert ask(text) == answer


@pytest.mark.parametrize(
    "text",
    [
        "import os",
        "__import__('os')",
        "open('/etc/passwd')",
        "print(1)",
        "lambda: 1",
        "[x for x in [1]]",
        "f'{1}'",
        "def f(): pass",
        "host.x = 1",
        "h = 1",
        "objgraph = 1",
        "_ = __builtins__",
        "host.__class__",
        "host.__dict__",
        "host.__init__.__globals__",
        "host.password",
        "items['api_token']",
        "items['none']",
        "made['none']",
        "keyed[5]",
        "keyed[key]",
        "keyed[b'set-cookie']",
        "names['api_key']",
        "headers[0][1]",
        "headers[0][-1]",
        "headers[0][0:]",
        "host.plain[key]",
        "host.plain[key:]",
        "host.plain[True]",
        "host()",
        "host.lazy()",
        "host.plain.append(1)",
        "host + 1",
        "~host",
        "host < 1",
        "host[0]",
        "len(host)",
        "objgraph.os",
        "objgraph.count.__globals__",
        "objgraph.show_backrefs(host, filename='/tmp/x.dot')",
        "objgraph.show_backrefs(host, output=host)",
        "objgraph.show_backrefs(host, extra_info=host)",
        "objgraph.show_backrefs(host, 3, (), host)",
        "objgraph.find_backref_chain(host, host)",
        "objgraph.find_backref_chain(host, predicate=host)",
        "objgraph.count('x', **items)",
        "objgraph.count(host)",
        "objgraph.count('x', host)",
        "objgraph.growth(10, host)",
        "objgraph.count([key])",
        "objgraph.by_type([key], [key])",
        "objgraph.show_backrefs(host, 3, [key])",
        "objgraph.show_backrefs(host, extra_ignore=(key,))",
        "objgraph.find_backref_chain(host)",
        "objgraph.show_chain(host, objgraph.os)",
        "x = y = 1",
        "del x",
        "await host",
        "(x := 1)",
        "host if host else host",
        "host and host",
    ],
)
def test_what_may_not_be_asked(ask, text):
    with pytest.raises((Refused, SyntaxError)):
        ask(text)


def test_a_container_is_shown_without_asking_its_keys_for_their_hash(ask):
    shown = ask("keyed")
    assert "Key object at" in shown
    assert "b'set-cookie': <hidden>" in shown


@pytest.fixture
def ask_heapy() -> Callable[[str], Any]:
    guppy = pytest.importorskip("guppy")
    session = guppy.hpy()
    some = session.iso([1, 2], {"a": []}, "text", HOST)
    tools = {"hp": session, "h": some, "objgraph": OBJGRAPH}
    evaluator = Evaluator(tools.__getitem__)
    evaluator.names["host"] = HOST
    return lambda text: list(evaluator.run(parse(text, whole=True)))


@pytest.mark.parametrize(
    "text",
    [
        "h",
        "h[0]",
        "h[0:2]",
        "h[0].byid",
        "h.by('Type&Size')",
        "h.byrcs",
        "h.byvia",
        "h & h[0]",
        "h - h[0]",
        "h.count",
        "h.rp",
        "h.sp",
        "h.byid[0].theone",
        "hp.iso(host, host)",
        "hp.Nothing | h",
        "h.get_rp(depth=2)",
        "h.more",
        "h.stat",
        "h.disjoint(hp.Nothing)",
    ],
)
def test_what_heapy_may_be_asked(ask_heapy, text):
    for value in ask_heapy(text):
        repr(value)


@pytest.mark.parametrize(
    "text",
    [
        "hp.Via(\"[__import__('os').getpid()]\")",
        "h.byvia.er(\"[__import__('os').getpid()]\")",
        'h.byvia.kind("[1]")',
        'h.byvia.er.sokind("[1]")',
        "hp.Id('1')",
        "hp.Type('<at 0x1>')",
        "hp.Type(host)",
        "hp.Class(host)",
        "h.by('_root')",
        "h.by('Type&load')",
        "h.by(host)",
        "h['a']",
        "h[host]",
        "h & 'a'",
        "h & host",
        "h == host",
        "h.dump('/tmp/x')",
        "h.stat.dump('/tmp/x')",
        "hp.load('/tmp/x')",
        "hp.pb()",
        "hp.monitor()",
        "hp.test()",
        "h.maprox['a']",
        "h.fam",
        "h.er",
        "h.prod",
        "hp.idset(host)",
        "h.get_rp(er='Via')",
        "h.get_shpaths(host)",
        "hp.setrelheap('x')",
        "h._fam",
        "hp._root",
        "hp.Root",
        "h.nodes.hv",
    ],
)
def test_what_heapy_may_not_be_asked(ask_heapy, text):
    with pytest.raises(Refused):
        ask_heapy(text)


def test_a_property_is_shown_and_never_run(ask):
    assert "property" in ask("host.lazy")


def test_a_value_is_shown_without_its_own_code():
    assert showing.brief(HOST).endswith(f"Host object at {id(HOST):#x}>")
    assert showing.brief([HOST] * 20).count("Host object") == showing.MOST_ITEMS
    assert showing.label(HOST) == f"at {id(HOST):#x}"


def test_a_value_of_a_secret_name_is_hidden_and_a_text_is_cut():
    shown = showing.brief({"api_token": "T", "name": "x" * 1000})
    assert "T'" not in shown
    assert showing.HIDDEN in shown
    assert len(shown) < 200
    assert len(showing.brief(7**100_000)) < 100


def test_names_are_completed_by_the_tables():
    assert expression("objgraph.show_ch", {}) == ["show_chain"]
    assert expression("hp.setrel", {}) == [
        "setrelheap",
        "setrelheapu",
    ]
    assert "byvia" in expression("h[0].byv", {})
    assert expression("mi", {"mine": 1}) == ["mine"]


def test_a_text_that_goes_on_is_not_evaluated():
    assert parse("objgraph.count(", whole=False) is None
    with pytest.raises(SyntaxError):
        parse("objgraph.count(", whole=True)
