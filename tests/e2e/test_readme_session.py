"""The README's session is what `liveheap demo` prints, but for numbers.

`[...]` in the README stands for lines that were left out; all other lines follow each
other in the demo's output as they do there. When this fails, run `make demo` and copy.
"""

import os
import re
from pathlib import Path

import pytest
from command_line import liveheap

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
LEFT_OUT = "[...]"
WIDTH, LONGEST_LINE = 80, 100
AMOUNT = re.compile(r"\d[\d,.:]*( (B|[KMG]iB|us|ms|s)\b)?")

ENV = {k: v for k, v in os.environ.items() if not k.startswith("LIVEHEAP")}


def session() -> list[str]:
    """Return the lines of the first block under the heading."""
    section = README.partition("\n## A session\n")[2]
    return section.split("```\n")[1].splitlines()


def masked(line: str) -> str:
    """Return a line without its amounts, and without the blanks that align them.

    Where a suspended frame is an object of its own (before 3.11) its line says so.
    """
    line = re.sub(r"  frame (?=\w+\(\))", "  ", line)
    return " ".join(AMOUNT.sub("#", line).split())


def pieces(lines: list[str]) -> list[list[str]]:
    """Return the stretches between what was left out."""
    found: list[list[str]] = [[]]
    for line in lines:
        if line == LEFT_OUT:
            found.append([])
        else:
            found[-1].append(masked(line))
    return found


def missing(shown: list[list[str]], printed: list[str]) -> list[str]:
    """Return the first stretch that does not come, in order, in what was printed."""
    start = 0
    for piece in shown:
        places = range(start, len(printed) - len(piece) + 1)
        place = next((at for at in places if printed[at:][: len(piece)] == piece), None)
        if place is None:
            return piece
        start = place + len(piece)
    return []


@pytest.mark.parametrize(
    ("shown", "found"),
    [
        (["a 1", "b"], True),
        (["a few"], False),
        (["b", "c 2 MiB"], True),
        (["a 3", LEFT_OUT, "c 17 KiB"], True),
        (["a 3", "c 17 KiB"], False),
        (["c 1 B", LEFT_OUT, "a 1"], False),
    ],
)
def test_lines_are_found_in_order_and_only_gaps_may_be_left_out(
    shown: list[str], found: bool
) -> None:
    printed = [masked(line) for line in ("a 1", "b", "c   1.5 MiB")]

    assert (missing(pieces(shown), printed) == []) is found


def test_the_session_is_what_the_demo_prints() -> None:
    done = liveheap("demo", env=ENV)

    printed = [masked(line) for line in done.stdout.splitlines()]
    assert missing(pieces(session()), printed) == [], done.stdout


def test_the_session_fits_a_terminal_and_the_text_fits_a_page() -> None:
    assert max(map(len, session())) <= WIDTH
    text = [line for line in README.splitlines() if not line.startswith("|")]
    assert max(map(len, text)) <= LONGEST_LINE
