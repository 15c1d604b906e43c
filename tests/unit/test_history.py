"""The history: hours by the minute, days ever coarser, in 16 KiB."""

import sys

import pytest

from liveheap import history
from liveheap.history import FACTOR, LEVELS, SLOTS, History

MINUTE_S = 60.0


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(history, "now", clock)
    return clock


def fill(kept: History, clock: Clock, amount: int, *, first: int = 0) -> None:
    """Note `amount` figures; that of number n tells n in every field that can."""
    for number in range(first, first + amount):
        kept.note(rss=number << 10, descriptors=7, collections=1, done=number)
        clock.now += MINUTE_S


def test_a_young_history_tells_every_figure_as_it_was_noted(clock: Clock) -> None:
    kept = History()
    fill(kept, clock, 20)

    found = kept.figures()

    assert [each.done for each in found] == list(range(20))
    assert [each.rss for each in found] == [n << 10 for n in range(20)]
    assert found[3].at == 1000.0 + 3 * MINUTE_S
    assert (found[3].peak, found[3].descriptors) == (3 << 10, 7)


@pytest.mark.parametrize("amount", [SLOTS, SLOTS + 1, 1234, 9_999, 120_000])
def test_each_moment_is_told_once_however_old_the_process(
    amount: int, clock: Clock
) -> None:
    kept = History()
    fill(kept, clock, amount)

    found = kept.figures()
    ends = [each.done for each in found]
    spans = [b - a for a, b in zip([-1, *ends], ends, strict=False)]
    fewest_kept = (SLOTS - 2) * FACTOR ** (LEVELS - 1)

    assert ends == sorted(set(ends))
    assert ends[-1] == amount - 1
    assert [each.collections for each in found[1:]] == spans[1:]
    assert set(spans[1:]) <= {FACTOR**level for level in range(LEVELS)}
    assert spans == sorted(spans, reverse=True) or amount > fewest_kept
    assert ends[0] <= max(amount - fewest_kept, 0) + FACTOR ** (LEVELS - 1)


def test_a_coarse_figure_keeps_the_least_and_the_most_of_its_span(
    clock: Clock,
) -> None:
    kept = History()
    kept.note(rss=1 << 30, descriptors=900, collections=0, done=0)
    fill(kept, clock, 2 * SLOTS, first=1)

    oldest = kept.figures()[0]

    assert (oldest.rss, oldest.peak) == (1 << 10, 1 << 30)
    assert oldest.descriptors == 900


def test_it_stays_in_its_16_kib(clock: Clock) -> None:
    kept = History()
    fill(kept, clock, 5000)

    assert sum(sys.getsizeof(ring._records) for ring in kept._rings) <= 16 << 10


def test_a_sleep_of_the_machine_stays_a_hole(clock: Clock) -> None:
    kept = History()
    fill(kept, clock, 2)
    clock.now += 7200
    fill(kept, clock, 1, first=2)

    (_, before, after) = kept.figures()

    assert after.at - before.at == pytest.approx(7200 + MINUTE_S)


def test_figures_beyond_their_fields_stay_at_the_most_that_can_be_told(
    clock: Clock,
) -> None:
    kept = History()
    kept.note(rss=1 << 60, descriptors=1 << 20, collections=1 << 20, done=1 << 40)

    (found,) = kept.figures()

    assert found.rss == history.MOST << 10
    assert found.descriptors == history.UNKNOWN - 1
    assert found.collections == history.UNKNOWN
    assert found.done == history.MOST


def test_what_the_kernel_does_not_tell_is_unknown_and_not_none(clock: Clock) -> None:
    kept = History()
    for _ in range(FACTOR * 30):
        kept.note(rss=1, descriptors=None, collections=0, done=0)

    assert {each.descriptors for each in kept.figures()} == {None}
