"""Where words go: results to stdout, talk to stderr.

Whether a person looks is decided here, once, and handed down as a Look; what renders
never asks. No colour without a terminal, nor with NO_COLOR.
"""

import contextlib
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TextIO

from liveheap_client.render.escape import drawable, visible_block, visible_text
from liveheap_client.render.table import Look
from liveheap_client.streams import writing


@dataclass(frozen=True, slots=True)
class Terminal:
    """A place for results and one for talk."""

    out: TextIO
    talk: TextIO
    look: Look
    talk_is_watched: bool = False

    @classmethod
    def standard(cls, environ: Mapping[str, str] = os.environ) -> "Terminal":
        """Return this process's own stdout and stderr."""
        watched = sys.stdout.isatty()
        colour = (
            watched and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
        )
        width = shutil.get_terminal_size().columns if watched else None
        look = Look(human=watched, width=width, bold=colour)
        return cls(sys.stdout, sys.stderr, look, sys.stderr.isatty())

    def show(self, lines: Iterable[str]) -> None:
        """Print lines of a result as they come."""
        for line in lines:
            with writing():
                shown = drawable(line, encoding=self.out.encoding)
                print(shown, file=self.out, flush=self.look.human)
        with writing():
            self.out.flush()

    def pour(self, text: str) -> None:
        """Print a piece of somebody else's running text, made harmless, at once."""
        with writing():
            self.out.write(visible_text(text))
            self.out.flush()

    def show_json(self, value: object) -> None:
        """Print a result as JSON. NaN and unknown objects never get that far."""
        with writing():
            json.dump(value, self.out, indent=2, default=str, ensure_ascii=True)
            print(file=self.out, flush=True)

    def say(self, text: str) -> None:
        """Print talk: what happens, what happened. Escapes are made visible.

        While a bar is shown, rich has put itself in place of sys.stderr and prints
        above the bar; so stderr is looked up now and not taken from the start.
        """
        stream = sys.stderr if self.talk is sys.__stderr__ else self.talk
        with contextlib.suppress(OSError):
            for line in visible_block(text):
                for part in self._wrapped(line):
                    print(part, file=stream, flush=True)

    def _wrapped(self, line: str) -> list[str]:
        """Break a line between words where a person would see it broken within one."""
        if not self.talk_is_watched:
            return [line]
        width = shutil.get_terminal_size().columns
        return textwrap.wrap(line, width, break_on_hyphens=False) or [""]
