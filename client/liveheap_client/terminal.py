"""Where words go: results to stdout, talk to stderr.

Whether a person looks is decided here, once, and handed down as a Look; what renders
never asks. No colour without a terminal, nor with NO_COLOR.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TextIO

from liveheap_client.render.escape import visible_block
from liveheap_client.render.table import Look


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
            print(line, file=self.out, flush=self.look.human)
        self.out.flush()

    def show_json(self, value: object) -> None:
        """Print a result as JSON. NaN and unknown objects never get that far."""
        json.dump(value, self.out, indent=2, default=str, ensure_ascii=True)
        print(file=self.out, flush=True)

    def say(self, text: str) -> None:
        """Print talk: what happens, what happened. Escapes are made visible.

        While a bar is shown, rich has put itself in place of sys.stderr and prints
        above the bar; so stderr is looked up now and not taken from the start.
        """
        stream = sys.stderr if self.talk is sys.__stderr__ else self.talk
        for line in visible_block(text):
            print(line, file=stream, flush=True)
