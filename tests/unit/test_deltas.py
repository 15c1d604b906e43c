"""What tasks leave behind: told of those that had the process to themselves."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from liveheap.commands.tasks import COLUMNS, figures
from liveheap.deltas import REST, Deltas
from liveheap.tasks import MAX_NAMES, OTHER, Token

MEASURED = [column.name for column in COLUMNS].index("measured")


class Host:
    """A process whose size and clock a test sets; it obeys the observer's rests."""

    def __init__(self) -> None:
        self.rss, self.blocks, self.now, self.look_s = 1000, 100, 0.0, 0.001
        self.rest_until = 0.0
        self.deltas = Deltas(self.look, lambda: self.now)

    def look(self) -> tuple[int, int]:
        self.now += self.look_s
        return self.rss, self.blocks

    def begin(self, name: str) -> Token:
        token = cast(Token, SimpleNamespace(name=name, note=None, alone=True))
        if self.now >= self.rest_until:
            self.deltas.begin(token)
        return token

    def end(self, token: Token) -> None:
        if token.note is not None:
            rest_s = self.deltas.end(token)
            self.rest_until = max(self.rest_until, self.now) + rest_s

    def run(self, name: str, rss: int = 0, blocks: int = 0) -> None:
        token = self.begin(name)
        self.rss += rss
        self.blocks += blocks
        self.end(token)
        self.now += 10.0

    def told(self, name: str) -> dict[str, Any]:
        values = figures(self.deltas.by_name().get(name), overlapped=0)
        names = [column.name for column in COLUMNS][MEASURED:]
        return dict(zip(names, values, strict=True))


@pytest.fixture
def host() -> Host:
    return Host()


def test_the_first_run_stands_apart_from_mean_and_maximum(host: Host) -> None:
    for rss, blocks in ((9000, 900), (10, 1), (30, 2), (20, 3)):
        host.run("pay", rss, blocks)

    assert host.told("pay") == {
        "measured": 4,
        "overlapped": 0,
        "rss_first": 9000,
        "rss_mean": 20,
        "rss_max": 30,
        "blocks_first": 900,
        "blocks_mean": 2.0,
        "blocks_max": 3,
    }


def test_a_name_that_only_shrinks_has_a_maximum_below_zero(host: Host) -> None:
    for rss in (0, -30, -10):
        host.run("trim", rss)

    assert host.told("trim")["rss_max"] == -10


def test_a_task_that_did_not_stay_alone_is_not_measured(host: Host) -> None:
    token = host.begin("pay")
    token.alone = False
    host.rss += 5000
    host.end(token)

    assert host.deltas.by_name() == {}
    assert host.rest_until > host.now


def test_overlapped_tasks_are_told_also_where_none_is_measured() -> None:
    measured, overlapped, *rest = figures(None, overlapped=7)

    assert (measured, overlapped, rest) == (0, 7, [None] * 6)


def test_a_task_within_a_task_spoils_nothing(host: Host) -> None:
    outer = host.begin("request")
    inner = host.begin("query")
    host.rss += 40
    host.end(inner)
    host.end(outer)

    assert host.told("request")["rss_first"] == 40
    assert host.told("query")["rss_first"] == 40


def test_measuring_takes_a_tenth_of_a_percent_of_the_time_at_most(host: Host) -> None:
    for _ in range(60_000):
        token = host.begin("tiny")
        host.now += 0.0001
        host.end(token)

    spent = host.told("tiny")["measured"] * 2 * host.look_s
    assert host.told("tiny")["measured"] >= 2
    assert spent <= host.now / REST + 2 * host.look_s


def test_tasks_within_each_other_are_paid_off_one_by_one(host: Host) -> None:
    for _ in range(5000):
        tokens = [host.begin(f"level {level}") for level in range(10)]
        for token in reversed(tokens):
            host.end(token)
        host.now += 0.001

    levels = host.deltas.by_name().values()
    spent = sum(left.measured for left in levels) * 2 * host.look_s
    assert len(levels) == 10
    assert spent <= host.now / REST + 2 * 10 * host.look_s


@pytest.mark.parametrize("shown", [(0, 1000), (1000, 0)])
def test_a_look_that_sees_no_bytes_measures_nothing(
    host: Host, shown: tuple[int, int]
) -> None:
    host.rss = shown[0]
    token = host.begin("pay")
    host.rss = shown[1]
    host.end(token)

    assert host.deltas.by_name() == {}
    assert host.rest_until > host.now


def test_names_without_end_are_folded(host: Host) -> None:
    for number in range(MAX_NAMES + 50):
        host.run(f"job {number}", 1)

    known = host.deltas.by_name()
    assert len(known) == MAX_NAMES + 1
    assert known[OTHER].measured == 50


def test_a_fork_s_child_begins_anew_also_for_the_task_it_is_in(host: Host) -> None:
    host.run("pay", 10)
    token = host.begin("job")
    host.deltas.begin_anew()
    host.rss += 99
    host.end(token)

    assert host.deltas.by_name() == {}


def test_a_look_that_shows_nothing_is_paid_off_as_well(host: Host) -> None:
    looks = []
    host.deltas._look = lambda: (looks.append(host.now), host.look())[1]

    for _ in range(1000):
        token = host.begin("pay")
        token.alone = False
        host.now += 0.001
        host.end(token)

    assert 1 <= len(looks) <= host.now / (REST * host.look_s) + 2
