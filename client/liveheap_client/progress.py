"""Progress on stderr, for a person who waits. Nobody looks: nothing is printed.

The line appears only after a moment, so that quick verbs do not flicker, and by a timer
of its own, so that one long step without a word shows it too. It steps aside while a
result is printed: stdout and stderr are mostly the same screen.

rich is imported when somebody watches: a verb in a pipe shall not wait for it.
"""

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from liveheap_client.render.escape import visible
from liveheap_client.terminal import Terminal

if TYPE_CHECKING:
    from rich.progress import Progress

_QUICK_S = 0.3


class Bar:
    """One line that changes while something goes on. Without a display: nothing."""

    def __init__(self, display: "Progress | None") -> None:
        self._display = display
        self._task = None if display is None else display.add_task("", total=None)
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._shown = False

    def update(
        self, text: str, *, done: float | None = None, total: float | None = None
    ) -> None:
        """Say what goes on and how far it is; without a total it only moves."""
        if self._display is None or self._task is None:
            return
        if total is None:
            # None means "as before" to update(), and the bar would stay where it was.
            self._display.tasks[0].total = None
        self._display.update(
            self._task, description=visible(text), completed=done, total=total
        )
        with self._lock:
            if self._timer is None:
                self._timer = threading.Timer(_QUICK_S, self._show)
                self._timer.daemon = True
                self._timer.start()

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Take the line away while something else is printed."""
        self.stop()
        yield

    def stop(self) -> None:
        """Take the line away; a moment after the next update it is back."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._display is not None and self._shown:
                self._display.stop()
                self._shown = False

    def _show(self) -> None:
        """Show the line, unless it was taken away meanwhile."""
        with self._lock:
            if self._display is not None and self._timer is threading.current_thread():
                self._display.start()
                self._shown = True


@contextlib.contextmanager
def bar(terminal: Terminal) -> Iterator[Bar]:
    """Show a bar as long as the block runs."""
    if not terminal.talk_is_watched:
        yield Bar(None)
        return
    from liveheap_client.render.progress import display  # noqa: PLC0415 - see above

    shown = Bar(display(terminal.talk, bold=terminal.look.bold))
    try:
        yield shown
    finally:
        shown.stop()
