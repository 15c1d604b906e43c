"""The workers of a host as a table: trees, narrow screens, facts that are not there."""

from typing import Any

import pytest

from liveheap_client import roster
from liveheap_client.render.processes import lines, total
from liveheap_client.render.table import Look
from liveheap_client.roster import in_order

WIDE = Look(human=True, width=200)
MIB = 1 << 20


def row(pid: int, parent: int | None = None, **facts: Any) -> dict[str, Any]:
    return {
        "pid": pid,
        "parent": parent,
        "program": f"app{pid}",
        "role": "worker",
        "framework": "celery",
        "pool": "prefork",
        "python": "3.12.1",
        "rss": 30 * MIB,
        "uss": 10 * MIB,
        "shared": 20 * MIB,
        "grown": 5 * MIB,
        "running": 0,
        "done": 7,
        "tasks": [],
        "uptime": 60.0,
        "state": "answers",
        **facts,
    }


def shown(rows: list[dict[str, Any]], look: Look = WIDE) -> list[str]:
    return lines(in_order(rows), look=look)


def test_each_tree_is_drawn_below_its_master() -> None:
    table = shown([row(5), row(9), row(11, 5), row(12, 11), row(13, 5), row(20, 9)])

    assert [line.split("  worker")[0].rstrip() for line in table[1:]] == [
        "  5  app5",
        " 11  ├─ app11",
        " 12  │  └─ app12",
        " 13  └─ app13",
        "  9  app9",
        " 20  └─ app20",
    ]


def test_a_row_tells_memory_and_work_apart() -> None:
    tasks = [{"task": "shop.pay", "longest": 90.0, "running": 1}, {"task": "shop.ship"}]

    (_, line) = shown([row(5, running=2, tasks=tasks)])

    assert line.split("  worker  ")[1].split("  ") == [
        *("celery/prefork", "3.12.1", "30.0 MiB", "10.0 MiB", "20.0 MiB", "5.0 MiB"),
        *("shop.pay 1m 30s +1", "", " 7", " 1m 0s"),
    ]


@pytest.mark.parametrize(
    ("state", "words"),
    [("silent", "not answering"), ("stopped", "stopped"), ("refused", "refused")],
)
def test_who_does_not_answer_is_told(state: str, words: str) -> None:
    assert words in shown([row(5, state=state, running=None)])[1]


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_a_narrow_screen_loses_columns_and_never_breaks_a_line(width: int) -> None:
    rows = [row(400000 + n, program="celery worker", rss=999 * MIB) for n in range(9)]

    table = shown(rows, Look(human=True, width=width))

    assert all(len(line) <= width for line in table)
    assert {"pid", "program", "role", "rss"} <= set(table[0].split())
    assert ("python" in table[0]) == (width >= 120)


def test_a_pipe_gets_every_column_and_plain_names() -> None:
    table = shown([row(5), row(11, 5)], Look())

    assert table[0].split() == [
        *("pid", "program", "role", "framework", "python", "rss", "uss", "shared"),
        *("grown", "running", "done", "uptime"),
    ]
    assert table[2].split()[:2] == ["11", "app11"]
    assert str(30 * MIB) in table[2]


def test_an_older_bridge_s_facts_are_shown_as_far_as_they_go() -> None:
    (_, line) = shown([{"pid": 7, "program": "old.py", "kind": "app", "rss": MIB}])

    assert line.split()[:4] == ["7", "old.py", "app", "-"]


@pytest.mark.parametrize(
    "facts",
    [
        {"program": "\x1b]0;evil\x07\n\u202ex", "role": "\x1b[2J", "pool": "\x07"},
        {"running": 3, "tasks": [{"task": "\x1b[2J" * 99, "longest": "x"}]},
        {"running": 1, "tasks": ["\x1b[2J"], "done": "\x1b", "parent": [1]},
        {"running": "\x1b[2J", "done": {"a": "b"}, "pid": "5"},
        {"running": [None], "rss": "big", "uptime": None, "state": 5, "depth": -3},
    ],
)
def test_facts_of_another_program_are_seen_and_not_obeyed(
    facts: dict[str, Any],
) -> None:
    rows = [{"pid": 3, "depth": 1}, {**row(5), **facts}]

    text = "".join(lines(rows, look=WIDE))

    assert text.isprintable()


def test_a_circle_of_parents_hides_nobody() -> None:
    rows = [row(5, 6), row(6, 5), row(7)]

    assert {found["pid"] for found in in_order(rows)} == {5, 6, 7}


def test_the_total_counts_what_a_tree_shares_once() -> None:
    assert total(in_order([row(1), row(2, 1), row(3, 1)])).startswith("3 workers, 50.0")
    assert total(in_order([row(1), row(2)])).startswith("2 workers, 60.0 MiB")
    assert total([row(1, uss=None)]) == "1 worker"


def test_the_small_ones_memory_is_told_apart_until_the_time_is_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ticks = iter([0.0, *[0.03 * n for n in range(99)]])
    asked: list[int] = []
    monkeypatch.setattr(roster, "_smaps", lambda pid: asked.append(pid) or (1, 2))

    class Stub:
        def __init__(self, pid: int, rss_bytes: int) -> None:
            self.pid, self.rss_bytes = pid, rss_bytes

    found: Any = [Stub(pid, pid * 50 * MIB) for pid in range(20, 0, -1)]
    known = roster._memory(found, lambda: next(ticks))

    assert asked == [1, 2, 3]
    assert known == dict.fromkeys(asked, (1, 2))


STRANGE = (None, True, -1, 10**30, float("nan"), float("inf"), "", "x", [], [{}], {})


@pytest.mark.parametrize("strange", STRANGE, ids=repr)
@pytest.mark.parametrize("look", [WIDE, Look(human=False, width=None)], ids=["", "|"])
def test_one_worker_with_strange_facts_hides_no_other(strange: Any, look: Look) -> None:
    known = row(5, tasks=[{"task": "t", "running": 1, "longest": 2.0}], running=1)
    rows = [{**known, name: strange} for name in known if name != "pid"]
    rows.append({**known, "tasks": [{"task": strange, "longest": strange}]})

    table = shown([*rows, row(7, program="honest")], look)

    assert "honest" in "\n".join(table)
