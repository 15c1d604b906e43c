"""The prompt of a shell at a terminal: history, completion, Ctrl-C and Ctrl-D."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import click
from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from liveheap_client.desk import Desk

TYPE_PARAMETER = "type_name"
_OWN_WORDS = ("exit", "help")


def prompted(
    desk: Desk, commands: Mapping[str, click.Command], prompt: str
) -> Iterator[str]:
    """Yield the lines typed at a prompt until Ctrl-D."""
    session: PromptSession[str] = PromptSession(
        history=history(os.environ),
        completer=VerbCompleter(desk, commands),
        complete_while_typing=False,
    )
    while True:
        try:
            yield session.prompt(prompt)
        except KeyboardInterrupt:
            continue
        except EOFError:
            return


def history(environ: Mapping[str, str], name: str = "history") -> History:
    """Return a history that only this user can read; in memory if there is no place."""
    state = environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    path = Path(state, "liveheap", name)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        os.fchmod(descriptor, 0o600)
        os.close(descriptor)
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))


class VerbCompleter(Completer):
    """Completes verbs, their options, choices, type names that were seen, and files."""

    def __init__(self, desk: Desk, commands: Mapping[str, click.Command]) -> None:
        self._desk = desk
        self._commands = commands

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        before = document.text_before_cursor.lstrip()
        words = before.split(" ")
        typed = words[-1]
        for candidate in sorted(set(self._candidates(words))):
            if candidate.startswith(typed) and candidate != typed:
                yield Completion(candidate, start_position=-len(typed))

    def _candidates(self, words: list[str]) -> Iterator[str]:
        if len(words) == 1:
            yield from (*self._commands, *_OWN_WORDS)
            return
        if words[0] == "help":
            yield from self._commands
            return
        command = self._commands.get(words[0])
        if command is None:
            return
        for parameter in command.params:
            if isinstance(parameter, click.Option) and words[-1].startswith("-"):
                yield from parameter.opts
            elif isinstance(parameter.type, click.Choice):
                yield from map(str, parameter.type.choices)
            elif parameter.name == TYPE_PARAMETER and not words[-1].startswith("-"):
                yield from self._type_names()
            elif isinstance(parameter.type, click.Path):
                yield from _files()

    def _type_names(self) -> Iterator[str]:
        """Yield full names, and bare ones: backrefs takes both."""
        for name in self._desk.names:
            yield name
            yield name.rpartition(".")[2]


def _files() -> Iterator[str]:
    with contextlib.suppress(OSError):
        yield from (path.name for path in Path().glob("*.liveheap"))
