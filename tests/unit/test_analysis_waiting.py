"""Chains of frames as a person reads them: the ends, and where packages meet."""

import pytest

from liveheap_client.analysis.records import Code, Frame
from liveheap_client.analysis.waiting import chain_text


def frame(qualname: str, filename: str) -> Frame:
    return Frame(0, Code(qualname, filename, 0, 1, -1), 7)


def chain(*inner_first: str) -> list[Frame]:
    """Return frames from `package.function` words, the outermost first."""
    return [
        frame(word.partition(".")[2], f"/usr/lib/python3/site-packages/{path}.py")
        for word in reversed(inner_first)
        for path in [word.replace(".", "/")]
    ]


@pytest.mark.parametrize(
    ("frames", "shown"),
    [
        ((), ""),
        (("loop.wait",), "wait"),
        (("loop.wait", "loop.get", "app.serve"), "wait get serve"),
        (
            ("loop.a", "loop.b", "loop.c", "loop.d", "loop.e", "loop.run"),
            "a b c ... run",
        ),
        (
            ("loop.a", "loop.b", "anyio.get", "anyio.x", "app.serve", "loop.run"),
            "a ... get ... serve run",
        ),
    ],
)
def test_of_a_long_chain_the_ends_stay_and_where_packages_meet(
    frames: tuple[str, ...], shown: str
) -> None:
    words = chain_text(chain(*frames)).split(" <- ") if frames else []

    assert [word.partition("(")[0] for word in words] == shown.split()


def test_a_chain_of_a_hundred_thousand_frames_is_told_at_once() -> None:
    deep = chain("loop.wait", *["app.recurse"] * 100_000, "loop.run")

    assert chain_text(deep).startswith("wait() at loop/wait.py:7 <- recurse() at app/")
