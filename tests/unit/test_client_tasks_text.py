"""What runs in a worker, as `status` and the greeting of `attach` say it."""

from liveheap_client.render import tasks
from liveheap_client.render.table import Look

FACTS = {
    "pid": 4711,
    "running": 3,
    "tasks": [
        {
            **{"kind": "celery", "name": "shop.import_orders", "id": "d4b0"},
            **{"seconds": 75.25, "holder": "greenlet", "address": 0x7F00AA},
        },
        {
            **{"kind": "request", "name": "GET /orders/*", "id": None},
            **{"seconds": 0.25, "holder": "thread", "thread": 4711},
        },
        {
            **{"kind": "task", "name": "sync", "id": None},
            **{"seconds": 0.125, "holder": "asyncio", "address": 0x7F00BB},
        },
    ],
    "done_by_name": [
        {"name": "shop.import_orders", "count": 12},
        {"name": "GET /orders/*", "count": 3456},
    ],
}


def lines(facts: dict, *, look: Look = Look(human=True)) -> list[str]:  # noqa: B008 -- frozen
    return list(tasks.lines(facts, look=look))


def test_each_task_has_a_line_and_each_name_a_count():
    assert lines(FACTS) == [
        "task                       id    on                        for",
        "celery shop.import_orders  d4b0  greenlet 0x7f00aa      1m 15s",
        "request GET /orders/*      -     main thread            250 ms",
        "task sync                  -     asyncio task 0x7f00bb  125 ms",
        "",
        "done                count",
        "shop.import_orders     12",
        "GET /orders/*       3,456",
    ]


def test_a_pipe_gets_plain_numbers():
    assert "75.25" in lines(FACTS, look=Look())[1]
    assert lines(FACTS, look=Look())[-1].endswith("3456")


def test_what_is_not_shown_is_counted():
    many = {**FACTS, "running": 250}
    assert "... and 247 more running" in lines(many)
    names = [{"name": f"report {n}", "count": 1} for n in range(30)]
    assert lines({"done_by_name": names})[-1] == "... and 20 more names"


def test_where_nothing_runs_and_nothing_is_done_nothing_is_said():
    assert lines({"pid": 1}) == []
    assert tasks.summary({"pid": 1}) is None


def test_the_greeting_says_what_runs_and_for_how_long():
    assert tasks.summary(FACTS) == (
        "running: shop.import_orders, GET /orders/*, sync, for up to 1m 15s"
    )
    same = {"tasks": [{"name": "sync", "seconds": 1.5}] * 3}
    assert tasks.summary(same) == "running: 3 × sync, for up to 1.5 s"
    five = {"tasks": [{"name": name} for name in "abcde"]}
    assert tasks.summary(five) == "running: a, b, c, …"


def test_a_hostile_agent_gets_no_control_of_the_terminal():
    evil = "\x1b[2J\u202e\n"
    facts = {
        "tasks": [
            {
                **{"kind": evil, "name": evil, "id": evil, "seconds": evil},
                **{"holder": evil, "address": evil, "thread": evil},
            },
            evil,
            {"holder": "thread", "thread": evil, "seconds": True},
            {},
        ],
        "done_by_name": [{"name": evil, "count": evil}, {}, 7],
        "running": evil,
    }
    text = "".join([*lines(facts), tasks.summary(facts) or ""])
    assert not set(text) & set("\x1b\u202e\n")
    assert lines({"tasks": evil, "done_by_name": {}}) == []
