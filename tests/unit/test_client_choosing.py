"""Which workers `--all` means."""

from typing import Any

import pytest

from liveheap_client.dial import DialOptions
from liveheap_client.errors import ConnectError, UsageError
from liveheap_client.roster import in_order
from liveheap_client.verbs import choosing


def row(pid: int, program: str, *above: int, **facts: Any) -> dict[str, Any]:
    return {"pid": pid, "program": program, "ancestors": list(above), **facts}


HERE = in_order(
    [
        row(10, "celery worker", 5, 1),
        row(11, "celery worker", 10, 5, 1, parent=10),
        row(12, "celery worker", 10, 5, 1, parent=10),
        row(20, "web.py", 5, name="shop"),
        row(21, "web.py", 20, 5, parent=20),
        row(31, "rq", 30, 1),
    ]
)


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "_here", lambda: HERE)
    monkeypatch.setattr(
        choosing, "remote_workers", lambda target, options: list(HERE[:3])
    )


@pytest.mark.parametrize(
    ("place", "pids"),
    [
        ("10", [10, 11, 12]),
        ("11", [11]),
        ("5", [10, 11, 12, 20, 21]),
        ("30", [31]),
        ("shop", [20, 21]),
        ("web.py", [20, 21]),
        ("celery", [10, 11, 12]),
        ("localhost/shop", [20, 21]),
        ("localhost/10", [10, 11, 12]),
    ],
)
def test_a_pid_or_a_name_means_it_and_all_that_come_from_it(
    place: str, pids: list[int]
) -> None:
    chosen = choosing.choose(place, DialOptions())

    assert [found["pid"] for found in chosen.rows] == pids
    assert [chosen.target_of(found) for found in chosen.rows] == list(map(str, pids))


def test_a_host_s_workers_are_reached_through_it() -> None:
    chosen = choosing.choose("me@far/11", DialOptions())

    assert [chosen.target_of(found) for found in chosen.rows] == ["me@far/11"]


def test_workers_of_several_programs_are_not_hunted_together_unasked() -> None:
    with pytest.raises(UsageError, match="3 programs") as refused:
        choosing.choose(None, DialOptions())

    assert "10 celery worker" in str(refused.value)
    assert "--all PID" in str(refused.value.hint)


@pytest.mark.parametrize("place", ["999", "localhost/nobody"])
def test_nobody_is_said(place: str) -> None:
    with pytest.raises(ConnectError):
        choosing.choose(place, DialOptions())


def test_one_socket_is_not_all() -> None:
    with pytest.raises(UsageError, match="--all"):
        choosing.choose("unix:/tmp/x", DialOptions())


def test_a_list_from_a_hostile_machine_is_taken_for_what_it_is_worth(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    strange: list[dict[str, Any]] = [
        {"pid": "11", "program": "a"},
        {"program": ["b"]},
        {"pid": 12, "program": {"c": 1}, "ancestors": 5, "parent": []},
        {"pid": 13, "program": {"c": 1}, "ancestors": [12, "x", None], "parent": 12},
    ]
    monkeypatch.setattr(choosing, "remote_workers", lambda target, options: strange)

    chosen = choosing.choose("far/12", DialOptions())

    assert [found["pid"] for found in chosen.rows] == [12, 13]
