"""Progress on stderr, for a person who waits. Nobody looks: nothing is printed."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from liveheap_client.render.escape import visible
from liveheap_client.terminal import Terminal


@dataclass(frozen=True, slots=True)
class Bar:
    """One line that changes while something goes on."""

    _progress: Progress | None = None
    _task: TaskID | None = None

    def update(
        self, text: str, *, done: float | None = None, total: float | None = None
    ) -> None:
        """Say what goes on and how far it is; without a total it only moves."""
        if self._progress is None or self._task is None:
            return
        self._progress.update(
            self._task, description=visible(text), completed=done, total=total
        )


@contextlib.contextmanager
def bar(terminal: Terminal) -> Iterator[Bar]:
    """Show a bar as long as the block runs."""
    if not terminal.talk_is_watched:
        yield Bar()
        return
    console = Console(
        file=terminal.talk, no_color=not terminal.look.bold, highlight=False
    )
    columns = (_Plain("{task.description}"), BarColumn(20), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield Bar(progress, progress.add_task("", total=None))


class _Plain(TextColumn):
    """Text that is text: no markup, whatever the worker's names look like."""

    def __init__(self, text_format: str) -> None:
        super().__init__(text_format, markup=False)

    def render(self, task: object) -> Text:
        return Text(str(getattr(task, "description", "")), no_wrap=True)
