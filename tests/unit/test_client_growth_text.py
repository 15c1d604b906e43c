"""The growth report and the tree of referrers as exact text."""

from typing import Any

from liveheap_client.render import backrefs, growth
from liveheap_client.render.table import Look

PIPE = Look()

VERDICT = {
    "kind": "leak",
    "confidence": "high",
    "sentence": "Leak: app.CACHE grew.",
    "reasons": [],
}
SUSPECT = {
    "path": "app.CACHE.rows[*] -> app.Leaky",
    "type": "app.Leaky",
    "counts": [10, 2000, 30000, 40000],
    "intervals": 3,
    "bytes": [1040, 2080, 3120, 4 << 20],
    "growth_per_round": 1000.0,
    "bytes_per_round": 1040.5,
    "retaining_path": ["module app", ".CACHE -> app.Cache", "[*] -> app.Le\x1baky"],
}


def report(**changes: Any) -> dict[str, Any]:
    return {
        "rounds": [{}, {}, {}, {}],
        "suspects": [SUSPECT],
        "types": [
            {"type": "app.Leaky", "counts": [10, 0, 0, 20], "bytes": [1, 0, 0, 2049]},
            {"type": "int", "counts": [10, 0, 0, 10], "bytes": [1, 0, 0, 1]},
        ],
        "rss": [1 << 20, None, None, 3 << 20],
        "verdict": VERDICT,
        "truncated": False,
        "more_suspects": 0,
        "notes": [],
        **changes,
    }


def test_a_suspect_is_named_by_its_path_first() -> None:
    assert list(growth.lines(report(), look=PIPE)) == [
        "",
        "Leak: app.CACHE grew.",
        "verdict: leak, confidence high",
        "One path gained objects in each of 4 rounds.",
        "RSS 1.0 MiB -> 3.0 MiB (+2.0 MiB)",
        "",
        "1. app.CACHE.rows[*] -> app.Leaky",
        "   +1,000 objects and +1.0 KiB a round",
        "   objects  10 -> 2,000 -> 30,000 -> 40,000",
        "   bytes    1.0 KiB -> 2.0 KiB -> 3.0 KiB -> 4.0 MiB",
        "   held by  module app",
        "            .CACHE -> app.Cache",
        "            [*] -> app.Le\\x1baky",
        "",
        "type       first  last  gained  bytes gained",
        "app.Leaky     10    20      10       2.0 KiB",
    ]


def test_no_suspect_is_said_as_plainly() -> None:
    calm = report(suspects=[], types=[], rss=[None, None, None, None])

    assert list(growth.lines(calm, look=PIPE)) == [
        "",
        "Leak: app.CACHE grew.",
        "verdict: leak, confidence high",
        "No path gained objects in each of 4 rounds.",
    ]


def test_what_weakens_the_answer_stands_before_it() -> None:
    lines = list(growth.lines(report(notes=["2 rounds are a comparison"]), look=PIPE))

    assert lines[4] == "2 rounds are a comparison"


def test_only_the_first_suspects_are_shown_and_the_rest_is_counted() -> None:
    many = report(suspects=[SUSPECT] * 12, more_suspects=5)
    lines = list(growth.lines(many, look=PIPE))

    assert lines[3] == "17 paths gained objects in each of 4 rounds."
    assert "... and 7 more that gained less; --json has them" in lines
    assert not any(line.startswith("11.") for line in lines)


def test_a_long_path_is_broken_for_a_person_and_whole_in_a_pipe() -> None:
    path = " -> ".join(["application.module.Holder"] * 10)
    long = report(suspects=[{**SUSPECT, "path": path}])

    assert f"1. {path}" in list(growth.lines(long, look=PIPE))
    seen = list(growth.lines(long, look=Look(human=True, width=60)))
    assert max(map(len, seen)) <= 60


def test_many_rounds_leave_out_the_middle() -> None:
    long = {**SUSPECT, "counts": list(range(1, 11)), "bytes": [0] * 10}
    lines = list(growth.lines(report(suspects=[long]), look=PIPE))

    assert "   objects  1 -> 2 -> 3 -> ... -> 8 -> 9 -> 10" in lines


def test_a_round_is_one_line() -> None:
    line = growth.round_line(
        2,
        4,
        clock="12:00:01",
        header={"rss": 100 << 20},
        trailer={"nodes": 1234567, "bytes": 50 << 20, "pause_ns": 3_200_000},
    )

    assert line == (
        "round 2/4  12:00:01  1,234,567 objects  50.0 MiB  RSS 100 MiB  "
        "pause 3.2 ms  TRUNCATED"
    )


def node(label: str, **more: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {"edge": None, "count": 1, "more": 0, "children": []}
    return {"label": label, **empty, **more}


def test_referrers_are_a_tree_with_the_names_of_the_references() -> None:
    tree = node(
        "app.Leaky",
        count=1000,
        children=[
            node(
                "list",
                edge="[*]",
                more=3,
                children=[node("module a\npp", edge=".CACHE")],
            ),
            node("greenlet", edge="local 'x'", count=20),
        ],
    )

    assert list(backrefs.lines(tree, look=PIPE)) == [
        "app.Leaky  x1000",
        "├─ [*]  list",
        "│  ├─ .CACHE  module a\\x0app",
        "│  └─ ... 3 more kinds of referrers: --limit",
        "└─ local 'x'  greenlet  x20",
    ]
