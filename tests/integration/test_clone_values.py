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
    lazy = property(trap('property'))
class Seen: pass
traps, seen = [Trap() for _ in range(3)], Seen()
seen.ran, seen.api_token = ran, 'hunter2'
ran.clear()
"""
QUESTIONS = (
    "t = objgraph.by_type('Trap')",
    "t",
    "t[0].lazy",
    "objgraph.show_backrefs(t, max_depth=5)",
    "objgraph.find_backref_chain(t[0], objgraph.is_proper_module)",
    "objgraph.typestats()['Trap']",
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
)


@pytest.mark.parametrize("kind", ["plain", "gevent"])
def test_no_repr_comparison_call_or_property_of_the_worker_runs(stage, kind):
    host = cloning_host(stage, kind)
    host.do(TRAPS)
    heapy = OF_HEAPY if sys.version_info < (3, 15) else ()
    with copied(host, Scope.VALUES) as copy:
        for question in (*QUESTIONS, *heapy):
            copy.say(question)
        assert copy.say("objgraph.by_type('Seen')[0].ran") == "[]"
        text, answer = copy.ask("objgraph.by_type('Seen')[0].api_token")
        assert answer["outcome"] == "error"
        assert "hunter2" not in text
