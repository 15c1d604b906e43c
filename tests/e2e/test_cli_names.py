"""Names as attacks, wherever one can be shown.

A worker and a file whose types, modules, attributes, functions, files, keys, values,
tasks and header are escape sequences, line ends, bidi marks, markup and very long.
Every verb shows them: what it prints and writes holds them as text, and cut.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from e2e.many_verbs import Client, Done
from e2e.test_cli_secrets import ASKED, LAST, REFUSED, written_out
from eavesdropping import below
from spawn import Stage
from unit.stream_builder import THREAD, GraphBuilder, snapshot_bytes

ATTACK = '\x1b[2J\x1b]0;owned\x07\r\n\u202ereversed\u2066</script><img src=x>"\\$(id)'
LONG = "N" * 300_000
MARKUP = b"<img src=x>"
LONGEST = 256
HEADER = dict.fromkeys(
    ("tool", "python", "implementation", "hostname", "instance", "program"), ATTACK
)
TASK = {
    "kind": ATTACK,
    "name": LONG,
    "id": ATTACK,
    "seconds": 1.0,
    "holder": "thread",
    "address": None,
    "thread": 7,
    "callers": [],
    "inherited": False,
}
UNTOLD = {"attach", "inject", "run", "doctor", "token", "completion", "bridge", "demo"}


def hostile(grown: int) -> tuple[bytes, int]:
    """Return a snapshot file, and the address of an object in it."""
    b = GraphBuilder()
    accounts = []
    for name in (ATTACK, LONG, ATTACK + LONG):
        kind = b.type(name, name, [name, "held"])
        account = b.type("app", "Account", [name])
        code = b.code(name, f"/{name}.py", [name])
        for i in range(10 * grown):
            key = b.leaf("str", 60, preview=name[:200], content=name[:200])
            held = b.instance(account, [b.leaf("str", 5000, preview=name[:200])])
            value = b.instance(kind, [held, b.dict([(key, b.leaf("int", preview=i))])])
            accounts.append(held)
            b.module(f"{name}{i}" if i < 3 else f"app{name[:2]}{i}", {name: value})
        frame = b.frame(code, 3, [b.list(accounts)])
        b.root(THREAD, [("frame", frame)], name=name, number=7)
        b.function(code)
    b.warn(ATTACK)
    header = {**HEADER, "pid": 1, "scope": "values", "texts": True, "created": grown}
    return snapshot_bytes(b.stream(), header=header), accounts[-1].address


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[Done], Path]]:
    """Ask every verb about the worker and about the files, once."""
    stage, home = Stage(), tmp_path_factory.mktemp("client")
    try:
        worker = stage.spawn("hostile_names", env={"LIVEHEAP_NAME": ATTACK})
        worker.wait_for_socket()
        env = {**worker.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home)}
        places = {"T": str(worker.pid), "PID": str(worker.pid)}
        for name, grown in (("F", 1), ("G", 2)):
            data, address = hostile(grown)
            places[name] = str(home / f"{name}.liveheap")
            Path(places[name]).write_bytes(data)
        places |= {"ADDRESS": hex(address), "TAP": ""}
        numbers, done = iter(range(1000)), []
        with Client(env, home) as client:
            for verb, lines in ASKED.items():
                for line in () if verb in {*UNTOLD, *LAST} else lines:
                    words = written_out(f"{verb} {line}", places, numbers)
                    done.append(client.run(*words))
        yield done, home
    finally:
        stage.close()


def unprintable(text: str) -> set[str]:
    """Return the characters that are not plainly to be seen."""
    return {mark for mark in text if not mark.isprintable() and mark != "\n"}


def names_in(value: object) -> Iterator[str]:
    """Yield every text of plain data."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for each in value.values():
            yield from names_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from names_in(each)


def test_the_names_are_shown(said):
    done, _ = said
    failed = [
        each.words
        for each in done
        if each.code not in (0, 5) and each.words[0] not in REFUSED
    ]
    assert failed == []
    assert sum(b"owned" in each.said for each in done) > 20
    assert sum(each.code == 0 for each in done) > 30


def test_what_is_printed_is_text_on_a_terminal_and_cut(said):
    for each in said[0]:
        text = each.said.decode()
        assert unprintable(text) == set(), each.words
        if "--json" not in each.words:
            longest = max(map(len, re.findall("N+", text)), default=0)
            assert longest <= LONGEST, each.words


def test_json_is_ascii_and_says_the_names_as_they_are(said):
    names = set()
    for each in said[0]:
        if "--json" in each.words and each.code == 0:
            assert each.out.isascii(), each.words
            names |= set(names_in(json.loads(each.out)))
    assert any(ATTACK in name for name in names)


def test_pages_and_pictures_hold_the_names_as_text(said):
    files = {name: data for name, data in below(said[1]).items() if "out" in name}
    pages = [data for data in files.values() if b"<html" in data[:200].lower()]
    pictures = [data for data in files.values() if data.lstrip()[:4] == b"<svg"]
    assert pages
    assert pictures
    for data in (*pages, *pictures):
        assert MARKUP not in data
        assert unprintable(data.decode()) <= {"\t"}
        assert max(map(len, re.findall(b"N+", data)), default=0) <= LONGEST
    for data in pictures:
        ElementTree.fromstring(data)
    for data in pages:
        assert data.count(b"<script") == data.count(b"</script>")


def test_graphs_and_profiles_hold_the_names_as_text(said):
    files = {name: data for name, data in below(said[1]).items() if "out" in name}
    dots = [data for data in files.values() if data.startswith(b"digraph")]
    heaps = [data for data in files.values() if data.startswith(b'{"snapshot"')]
    assert dots
    assert heaps
    for data in dots:
        assert unprintable(data.decode()) <= {"\t"}
        assert max(map(len, re.findall(b"N+", data)), default=0) <= LONGEST
    for data in heaps:
        json.loads(data)
        assert unprintable(data.decode()) == set()
