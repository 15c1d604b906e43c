"""Scope values in a copy: what a client reads runs none of the worker's own code."""

from __future__ import annotations

import sys

import pytest
from cloning import cloning_host, copied

from liveheap.protocol.auth import Scope

TRAPS = """
ran = []
def trap(what):
    def run(self, *args):
        ran.append(what)
        return {'eq': self is (args or [None])[0], 'repr': 'x'}.get(what, 1)
    return run
class Trap:
    __repr__ = __str__ = trap('repr')
    __eq__, __hash__, __len__ = trap('eq'), trap('hash'), trap('len')
    __bool__, __iter__, __call__ = trap('bool'), trap('iter'), trap('call')
    __index__, __lt__, __getattr__ = trap('index'), trap('less'), trap('getattr')
    lazy = property(trap('property'))
class TrapDict(dict):
    __missing__, __getitem__, items = trap('missing'), trap('getitem'), trap('items')
    __iter__, __len__, keys = trap('iter'), trap('len'), trap('keys')
class Seen: pass
traps, seen, held, lazy = [Trap() for _ in range(3)], Seen(), Seen(), TrapDict()
seen.ran, seen.api_token = ran, 'hunter2'
seen.keyed = {Trap(): held, Trap(): held, b'cookie': b'hunter2'}
seen.headers = [(b'Authorization', b'hunter2')]
dict.update(lazy, {'held': held, 'traps': traps, Trap(): held})
ran.clear()
"""
QUESTIONS = (
    "t = objgraph.by_type('Trap')",
    "t",
    "t[0].lazy",
    "objgraph.show_backrefs(t, max_depth=5)",
    "objgraph.find_backref_chain(t[0], objgraph.is_proper_module)",
    "objgraph.typestats()['Trap']",
    "objgraph.count(t)",
    "objgraph.count('Trap', t)",
    "objgraph.show_backrefs(t[0], 2, t)",
    "[1, 2, 3][t[0]]",
    "[1, 2, 3][t[0]:]",
    "z = objgraph.by_type('TrapDict')[0]",
    "len(z)",
    "z['held']",
    "z['none']",
    "z[1]",
    "s = objgraph.by_type('Seen')[0]",
    "s.keyed",
    "s.keyed[1]",
    "s.headers",
    "objgraph.show_refs([z, s.keyed], max_depth=3)",
    "objgraph.show_backrefs(z['held'], max_depth=5)",
)
OF_HEAPY = (
    "s = hp.iso(*t)",
    "s",
    "s.byid",
    "s.byvia",
    "s.byrcs",
    "s.rp",
    "s.shpaths",
    "s.byid[0].theone",
    "s.kind",
    "s.domisize",
    "hp.iso(z['held']).shpaths",
    "hp.iso(z['held']).byid",
)
VIA_KEYS = "hp.iso(z['held'], *t).byvia"


@pytest.mark.parametrize("kind", ["plain", "gevent"])
def test_no_repr_comparison_call_or_property_of_the_worker_runs(stage, kind):
    host = cloning_host(stage, kind)
    host.do(TRAPS)
    heapy = OF_HEAPY if sys.version_info < (3, 15) else ()
    with copied(host, Scope.VALUES) as copy:
        told = "".join(copy.ask(question)[0] for question in (*QUESTIONS, *heapy))
        assert copy.say("objgraph.by_type('Seen')[0].ran") == "[]"
        assert "hunter2" not in told
        if heapy:
            assert "[<Trap object at 0x" in copy.say(VIA_KEYS)
            ran = copy.say("objgraph.by_type('Seen')[0].ran")
            assert not {"repr", "less", "len", "bool"} & set(ran.split("'"))
        text, answer = copy.ask("objgraph.by_type('Seen')[0].api_token")
        assert answer["outcome"] == "error"
        assert "hunter2" not in text
