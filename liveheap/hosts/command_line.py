"""What program a process runs, by its command line: its name and its subcommand.

Of the words only the program's name and a well-known subcommand are ever shown: the
others hold passwords.
"""

from __future__ import annotations

import os
import sys

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
WITH_VALUE = frozenset({"-W", "-X", "--check-hash-based-pycs"})
LONGEST_NAME = 64
# In the text after `-c`: children of multiprocessing and of RQ's SpawnWorker.
WORKERS = ("multiprocessing.spawn", "worker.main_work_horse")
FORKSERVER = "multiprocessing.forkserver"


def read() -> list[str]:
    """Return this process's command line, from the program's own name on.

    A child that multiprocessing has started anew is told its parent's, and is called
    by that from then on.
    """
    words, told = original(), list(getattr(sys, "argv", ()))
    is_anew = does_work(words) or FORKSERVER in text_of(words)
    return told if is_anew and told[:1] not in ([], ["-c"]) else words


def original() -> list[str]:
    """Return the command line that the kernel was given, without the interpreter."""
    words = list(sys.orig_argv or sys.argv)
    if words and os.path.basename(words[0]).startswith(INTERPRETER):
        return after_interpreter(words[1:])
    return words


def does_work(words: list[str]) -> bool:
    """Whether a process does its master's work, in an interpreter of its own."""
    return any(sign in text_of(words) for sign in WORKERS)


def text_of(words: list[str]) -> str:
    """Return the text after `-c`."""
    return words[1] if words[:1] == ["-c"] and len(words) > 1 else ""


def after_interpreter(words: list[str]) -> list[str]:
    """Drop the interpreter's options; the program, or `-c` and its text, is left."""
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] not in ("-", "-c"):
        option = rest.pop(0)
        if option.startswith("-m"):
            return [option[2:], *rest] if option[2:] else rest
        if option in WITH_VALUE:
            del rest[:1]
    return rest


def name(words: list[str]) -> str:
    """Return the program's name; for the main file of a package, the package's."""
    if not words or words[0].startswith("-"):
        return INTERPRETER
    found = os.path.basename(words[0])
    if found == "__main__.py":
        found = os.path.basename(os.path.dirname(words[0])) or found
    return found[:LONGEST_NAME]


def program(words: list[str]) -> str:
    """Return the name and, if it is a well-known one, the subcommand."""
    known = [word for word in words[1:] if word in SUBCOMMANDS][:1]
    return " ".join([name(words), *known])
