"""What progress looks like: a text, a bar, the time that it took so far."""

from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TimeElapsedColumn
from rich.text import Text


def display(stream: TextIO, *, bold: bool) -> Progress:
    """Return a line for a terminal, not yet shown."""
    console = Console(file=stream, no_color=not bold, highlight=False)
    columns = (_Plain(), BarColumn(20), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, redirect_stdout=False)


class _Plain(ProgressColumn):
    """Text that is text: no markup, whatever the worker's names look like."""

    def render(self, task: Task) -> Text:
        return Text(task.description, no_wrap=True)
