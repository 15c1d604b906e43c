"""The picture of a worker's memory over time."""

from liveheap_client.render.escape import drawable
from liveheap_client.render.graph import lines, spans_of
from liveheap_client.render.table import Look

MIB = 1 << 20
LOOK = Look(human=True, width=60)


def rows(*peaks: float, start: float = 1.7e9, step: float = 30.0) -> list[dict]:
    """Return a history's rows, one each `step` seconds."""
    return [
        {"time": start + step * place, "peak": peak * MIB}
        for place, peak in enumerate(peaks)
    ]


def test_growth_rises_from_the_left_below_to_the_right_above() -> None:
    picture = list(lines(rows(*range(100, 200)), look=LOOK))

    assert picture[0] == "memory over 49m 30s"
    assert picture[1].startswith("199 MiB │")
    assert picture[1].rstrip().endswith("█")
    assert picture[5].startswith("101 MiB │")
    filled = [line.count("█") for line in picture[1:6]]
    assert filled == sorted(filled)
    assert all(len(line) <= 60 for line in picture)


def test_what_hardly_moves_is_no_mountain() -> None:
    picture = list(lines(rows(*[100, 100.5] * 50), look=LOOK))

    assert all("█" in line for line in picture[1:5])
    assert "90.5 MiB" in picture[5]


def test_a_sleep_of_the_machine_stays_empty() -> None:
    slept = [*rows(*[100] * 20), *rows(*[100] * 20, start=1.7e9 + 1800)]

    bottom = list(lines(slept, look=LOOK))[5].partition("│")[2]

    assert "█  " in bottom
    assert "  █" in bottom
    assert sum(span.end - span.start for span in spans_of(slept)) < 1300


def test_records_that_grow_coarser_with_age_are_no_holes() -> None:
    aged = [*rows(*[50] * 20, step=240), *rows(*[50] * 20, start=1.7e9 + 4800)]

    bottom = list(lines(aged, look=LOOK))[5].partition("│")[2]

    assert " " not in bottom


def test_a_moment_s_history_and_a_narrow_screen_draw_nothing() -> None:
    assert not list(lines([], look=LOOK))
    assert not list(lines(rows(100), look=LOOK))
    assert not list(lines(rows(100, 120, 130), look=Look(human=True, width=16)))


def test_equal_figures_of_nothing_at_all_draw_without_a_fault() -> None:
    assert not list(lines(rows(0, 0, 0), look=LOOK))
    assert list(lines(rows(1, 1, 1), look=LOOK))
    assert not list(lines(rows(1, 1, 1, step=0), look=LOOK))


def test_a_locale_without_blocks_gets_marks_that_it_has() -> None:
    for line in lines(rows(*range(100, 200)), look=LOOK):
        assert drawable(line, encoding="ascii").isascii()


def test_a_span_of_days_says_the_day() -> None:
    picture = list(lines(rows(*range(100, 200), step=7200), look=LOOK))

    assert picture[-1].count("-") == 4
