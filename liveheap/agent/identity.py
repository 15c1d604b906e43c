"""Who this process is, in words that may be shown to every client.

Of the command line only the program's name and a well-known subcommand: arguments
hold passwords.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

SUBCOMMANDS = frozenset(
    {
        "beat",
        "consumer",
        "events",
        "flower",
        "qcluster",
        "rqworker",
        "run",
        "run_huey",
        "rundramatiq",
        "runserver",
        "scheduler",
        "serve",
        "shell",
        "web",
        "worker",
    }
)
INTERPRETER = "python"
LONGEST_NAME = 64


@dataclass(frozen=True, slots=True)
class Identity:
    """What does not change between two forks."""

    pid: int
    start_time: int
    instance: str
    hostname: str
    program: str
    kind: str
    generation: int
    started: float


def program(words: list[str]) -> str:
    """Return the program and its subcommand, of the words of a command line."""
    words = list(words)
    if words and os.path.basename(words[0]).startswith(INTERPRETER):
        words = after_interpreter(words[1:])
    if not words:
        return INTERPRETER
    name = os.path.basename(words[0])[:LONGEST_NAME]
    if name in ("__main__.py", "manage.py"):
        name = os.path.basename(os.path.dirname(words[0]))[:LONGEST_NAME] or name
    known = [word for word in words[1:] if word in SUBCOMMANDS][:1]
    return " ".join([name, *known])


def after_interpreter(words: list[str]) -> list[str]:
    """Drop the interpreter's own options; what is left begins with the program."""
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option == "-m":
            return words
        if option.startswith("-m"):
            return [option[2:], *words]
        if option.startswith("-c"):
            return ["-c"]
        if option in ("-W", "-X", "--check-hash-based-pycs") and words:
            words.pop(0)
    return words


def command_line() -> list[str]:
    """Return this process's own command line, as it was started."""
    return list(getattr(sys, "orig_argv", None) or sys.argv)
