"""The report page: bounded, the same twice, and deaf to what names try to say."""

import base64
import hashlib
import json
import re
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from stream_builder import INTERNAL, GraphBuilder
from test_report_markup import HOSTILE

from liveheap_client.analysis import portrait
from liveheap_client.analysis.graph import HeapGraph
from liveheap_client.analysis.growth import Series
from liveheap_client.analysis.paths import PathNodes
from liveheap_client.report.page import Material, page
from liveheap_client.report.suspects import carded
from liveheap_client.report.tables import MOST_ROWS

MOST_BYTES = 5_000_000
VOID = {"meta", "input", "br"}


class Reader(HTMLParser):
    """What a browser would find: elements, their attributes, texts, open elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        inside = self.open[-1] if self.open else ""
        {"script": self.scripts, "style": self.styles}.get(inside, self.texts).append(
            data
        )

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def heap(rows: int, *, row: str = "Row", n_types: int = 0) -> HeapGraph:
    """A cache of rows in a module, and as many more types as asked for."""
    builder = GraphBuilder()
    kind = builder.type("app", row, ["payload"])
    cache = builder.type("app", "Cache", ["rows"])
    items = [builder.instance(kind, [builder.leaf()]) for _ in range(rows)]
    others = [
        builder.instance(builder.type("app", f"T{number}")) for number in range(n_types)
    ]
    builder.module(
        "app",
        {
            "CACHE": builder.instance(cache, [builder.list(items)]),
            "OTHERS": builder.list(others),
        },
    )
    return HeapGraph.decode(
        [builder.stream()],
        header={"pid": 7, "created": 1e9 + rows, "program": row, "rss": 1 << 20},
        trailer={"complete": True, "flags": [row], "pause_ns": 1_500_000},
    )


def material(graphs: Sequence[HeapGraph]) -> Material:
    series = Series()
    for graph in graphs:
        series.add(graph)
    growth = series.report().to_json() if len(graphs) > 1 else None
    shown = [suspect for _, suspect in carded(growth)] if growth else []
    newest = portrait.of(
        PathNodes.of(graphs[-1]), [suspect["path"] for suspect in shown]
    )
    rounds = [portrait.round_of(g, f"{n}.liveheap") for n, g in enumerate(graphs)]
    return Material(
        rounds=rounds,
        growth=growth,
        types=newest.types,
        holdings=newest.holdings,
        retained=newest.retained,
        backrefs=newest.backrefs,
    )


def grown(**options: Any) -> Material:
    return material([heap(10 * n, **options) for n in range(1, 6)])


def test_the_page_says_the_verdict_the_holder_and_the_suspect() -> None:
    text = " ".join(Reader(page(grown())).texts)

    assert "Leak" in text
    assert "app.CACHE.rows (list) grew 10 → 50 app.Row" in text
    assert "app.CACHE.rows[*]" in text
    assert "module app" in text


def test_elements_are_closed_in_order_and_nothing_leads_out() -> None:
    reader = Reader(page(grown()))

    assert reader.open == []
    for _, attributes in reader.elements:
        assert not {"src", "href", "style", "onclick", "action"} & set(attributes)
    assert "http" not in "".join(reader.scripts + reader.styles).replace(
        "http://www.w3.org/2000/svg", ""
    )


def test_the_policy_allows_our_style_and_script_and_nothing_else() -> None:
    reader = Reader(page(grown()))
    policy = next(m["content"] for m in reader.named("meta") if "http-equiv" in m)
    assert policy is not None

    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    assert policy.split("; ") == [
        "default-src 'none'",
        f"style-src 'sha256-{digest(''.join(reader.styles))}'",
        f"script-src 'sha256-{digest(reader.scripts[-1])}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    kinds = [script.get("type") for script in reader.named("script")]
    assert kinds == ["application/json", None]


@pytest.mark.parametrize("name", [n for n in HOSTILE if "\ud800" not in n])
def test_a_hostile_type_name_adds_no_element(name: str) -> None:
    plain, hostile = page(grown()), page(grown(row=name))

    tags = [name for name, _ in Reader(plain).elements]
    assert [name for name, _ in Reader(hostile).elements] == tags
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202e\u2028\u2066]", hostile)
    json.loads(Reader(hostile).scripts[0])


def test_the_same_files_give_the_same_page() -> None:
    assert page(grown()) == page(grown())


def test_one_snapshot_shows_what_holds_most() -> None:
    text = " ".join(Reader(page(material([heap(30)]))).texts)

    assert "app.CACHE.rows → list holds most" in text
    assert "What grows takes two snapshots or more." in text
    assert "All suspects" not in text


def test_rounds_of_several_processes_are_told() -> None:
    graphs = [heap(10 * n) for n in range(1, 5)]
    graphs[2].header["pid"] = 8
    text = " ".join(Reader(page(material(graphs))).texts)

    assert "2 different processes" in text
    assert "Undecided" in text


def test_an_empty_heap_has_a_page() -> None:
    empty = HeapGraph.decode([GraphBuilder().stream()])

    assert "holds no objects" in page(material([empty]))
    assert page(material([empty, empty]))


@pytest.mark.parametrize(
    "header",
    [
        {"created": 1e300, "pid": "<b>", "program": 5, "rss": True, "hostname": [1]},
        {"created": float("nan"), "pid": 1e400, "program": None},
        {"created": "yesterday", "pid": [], "program": {"a": 1}, "python": 3},
    ],
)
def test_a_header_of_wrong_kinds_is_no_error(header: dict[str, Any]) -> None:
    graph = heap(5)
    graph.header.clear()
    graph.header.update(header)
    graph.trailer.update(flags="x", complete="no", pause_ns=[])

    assert Reader(page(material([graph, graph]))).open == []


def test_a_host_is_named_only_if_the_file_names_it() -> None:
    named = heap(3)
    named.header["hostname"] = "web-7"

    assert "web-7" in page(material([named]))
    assert "<dt>Host</dt>" not in page(material([heap(3)]))


def test_ten_thousand_types_are_capped_and_counted() -> None:
    text = page(material([heap(3, n_types=10_000)]))
    rows = text.partition('id="table-types"')[2].partition("</table>")[0].count("<tr>")

    assert rows == MOST_ROWS + 1
    assert re.search(r"9,[0-9]{3} more are not in this page", text)
    assert len(text) < MOST_BYTES / 5


def test_a_truncated_round_is_told_with_its_file() -> None:
    graphs = [heap(10), heap(20)]
    graphs[1].trailer.update(complete=False, reason="timeout")

    assert "1.liveheap: truncated: timeout" in page(material(graphs))


def test_the_page_is_made_from_package_data() -> None:
    package = Path(sys.modules["liveheap_client.report.page"].__file__ or "").parent

    names = {path.name for path in (package / "assets").iterdir()}
    assert names == {"page.css", "page.js", "picture.css"}


def test_the_script_knows_no_way_to_run_or_send_a_name() -> None:
    ways = """
        innerHTML outerHTML insertAdjacentHTML document.write eval( Function( fetch(
        XMLHttpRequest WebSocket sendBeacon import( .src setTimeout(
    """
    script = "".join(Reader(page(grown())).scripts)

    assert [way for way in ways.split() if way in script] == []


def test_the_script_s_brackets_and_texts_close() -> None:
    """Catch a slip of the pen where there is no JavaScript engine."""
    script = Reader(page(grown())).scripts[-1]
    script = re.sub(r"//[^\n]*", "", script)
    script = re.sub(r"`(?:[^`$]|\$(?!\{)|\$\{[^{}`]*\})*`", "``", script)
    script = re.sub(r'"(?:[^"\\\n]|\\.)*"', '""', script)
    stack = []
    for mark in re.findall(r"[()\[\]{}]", script):
        if mark in "([{":
            stack.append({"(": ")", "[": "]", "{": "}"}[mark])
        else:
            assert stack.pop() == mark
    assert stack == []
    assert script.count("`") % 2 == script.count('"') % 2 == 0


def test_each_suspect_s_referrers_are_those_of_its_own_objects() -> None:
    """A `__dict__` shares its owner's path and is no object of that path."""
    builder = GraphBuilder()
    kind = builder.type("app", "Row", [(INTERNAL, "__dict__")])
    rows = [builder.instance(kind, [builder.named_dict({})]) for _ in range(7)]
    builder.module(
        "app", {"A": builder.list(rows), "B": builder.instance(kind, [None])}
    )
    graph = HeapGraph.decode([builder.stream()])
    path = "app.A[*] -> app.Row"
    tree = portrait.of(PathNodes.of(graph), [path]).backrefs[path]

    assert (tree["label"], tree["count"]) == ("app.Row", 7)
    assert [child["label"] for child in tree["children"]] == ["list"]


def test_a_list_of_links_is_one_row_of_what_retains_most() -> None:
    builder = GraphBuilder()
    link = builder.type("app", "Link", ["next"])
    node = None
    for _ in range(200):
        node = builder.instance(link, [node])
    builder.module("app", {"HEAD": node})
    paths = PathNodes.of(HeapGraph.decode([builder.stream()]))
    rows = portrait.of(paths).retained
    links = [row for row in rows if row[1] == "app.Link"]

    assert len(links) <= 2
    assert links[0][-1] == 200 * 48
