"""What reaches a person's screen: marks it has, lines it fits, bars that wait."""

import io
import os
import threading

import pytest
from rich.progress import Progress, TaskProgressColumn

from liveheap_client import progress
from liveheap_client.errors import ClientError, ReaderLeft
from liveheap_client.progress import Bar, bar
from liveheap_client.render.escape import drawable
from liveheap_client.render.flags import reservations
from liveheap_client.render.table import Look
from liveheap_client.streams import writing
from liveheap_client.terminal import Terminal


class Watched(io.StringIO):
    """A screen on which somebody waits for a word to appear."""

    def __init__(self, word: str) -> None:
        super().__init__()
        self.appeared = threading.Event()
        self._word = word

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        written = super().write(text)
        if self._word in self.getvalue():
            self.appeared.set()
        return written


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("utf-8", "└─ a…"), ("ascii", "`- a~"), ("latin-1", "`- a~"), (None, "└─ a…")],
)
def test_a_line_is_drawn_with_the_marks_its_encoding_has(
    encoding: str | None, shown: str
) -> None:
    assert drawable("└─ a…", encoding=encoding) == shown


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        (["greenlets-hidden"], ["suspended greenlets show their top frame only"]),
        (["without-type:app.Odd"], ["objects of app.Odd were left out"]),
        (["of-the-future"], ["of-the-future"]),
        (None, []),
        ("no list", []),
    ],
)
def test_flags_become_words(flags: object, shown: list[str]) -> None:
    assert reservations(flags) == shown


def test_talk_breaks_between_words_where_somebody_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((20, 5)))
    talk = io.StringIO()

    Terminal(io.StringIO(), talk, Look(), talk_is_watched=True).say("ten words " * 4)
    Terminal(io.StringIO(), talk, Look()).say("ten words " * 3)

    *wrapped, whole = talk.getvalue().splitlines()
    assert wrapped == ["ten words ten words"] * 2
    assert whole == "ten words ten words ten words "


@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        (BrokenPipeError(32, "Broken pipe"), ReaderLeft),
        (OSError(28, "full"), ClientError),
    ],
)
def test_what_stdout_does_to_us_has_a_name(
    error: OSError, becomes: type[Exception]
) -> None:
    with pytest.raises(becomes), writing():
        raise error


def test_one_long_step_without_a_word_shows_the_bar_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress, "_QUICK_S", 0.001)
    talk = Watched("collecting")
    terminal = Terminal(io.StringIO(), talk, Look(), talk_is_watched=True)

    with bar(terminal) as shown:
        shown.update("collecting")
        assert talk.appeared.wait(60)


def test_a_bar_whose_end_became_unknown_is_not_full() -> None:
    display = Progress(TaskProgressColumn())
    shown = Bar(display)

    shown.update("waiting", done=9, total=9)
    assert display.tasks[0].finished
    shown.update("reading")
    shown.stop()

    assert display.tasks[0].total is None


def test_a_quick_verb_shows_no_bar() -> None:
    talk = io.StringIO()

    with bar(Terminal(io.StringIO(), talk, Look(), talk_is_watched=True)) as shown:
        shown.update("collecting")

    assert talk.getvalue() == ""
