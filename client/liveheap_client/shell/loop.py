"""The shell of `attach`: the same verbs, one worker, until Ctrl-D.

With a terminal: a prompt with history and completion, Ctrl-C cancels what runs. Without
one: lines from stdin, so that `echo status | liveheap attach 4711` works; then a
failing line does not stop the next one, and the first failure is the exit code.
"""

import difflib
import shlex
import sys
from collections.abc import Iterator, Mapping

import click

from liveheap.errors import LiveheapError
from liveheap_client.desk import Desk
from liveheap_client.errors import INTERRUPTED, OK, UsageError, exit_code
from liveheap_client.render import failure
from liveheap_client.shell.prompt import prompted

_LEAVE = frozenset({"exit", "quit"})
_HELP = frozenset({"help", "?"})

Commands = Mapping[str, click.Command]


def loop(desk: Desk, commands: Commands, *, title: str) -> int:
    """Read lines and run them until the end; return the first failure's code."""
    worst = OK
    for line in _lines(desk, commands, title):
        try:
            if line.split()[:1] and line.split()[0] in _LEAVE:
                break
            code = run_line(desk, commands, line)
        except LiveheapError as error:
            code = exit_code(error)
            for text in failure.lines(error, prefix=""):
                desk.terminal.say(text)
        except KeyboardInterrupt:
            code = INTERRUPTED
            desk.terminal.say("cancelled")
        worst = worst or code
    return OK if _is_interactive() else worst


def run_line(desk: Desk, commands: Commands, line: str) -> int:
    """Run one line of the shell; return its exit code."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError as exc:
        raise UsageError(f"cannot read that line: {exc}") from exc
    if not words:
        return OK
    if words[0] in _HELP:
        words = [*words[1:2], "--help"] if len(words) > 1 else []
    if not words:
        desk.terminal.show(help_lines(commands))
        return OK
    command = commands.get(words[0])
    if command is None:
        raise UsageError(f"no verb {words[0]!r}", hint=_verbs_like(words[0], commands))
    try:
        outcome = command.main(words[1:], prog_name=words[0], standalone_mode=False)
    except click.UsageError as exc:
        raise UsageError(exc.format_message(), hint=f"help {words[0]}") from exc
    except click.exceptions.Abort:
        raise KeyboardInterrupt from None
    return outcome if isinstance(outcome, int) else OK


def _verbs_like(word: str, commands: Commands) -> str:
    """Return the verb that was meant, as far as one can tell, or all of them."""
    begun = [name for name in commands if word and name.startswith(word)]
    meant = begun or difflib.get_close_matches(word, commands, n=1)
    if meant:
        return f"did you mean {' or '.join(sorted(meant))}?"
    return f"one of: {', '.join(sorted(commands))}, exit"


def help_lines(commands: Commands) -> Iterator[str]:
    """Yield one line for every verb."""
    for name in sorted(commands):
        yield f"{name:12} {commands[name].get_short_help_str(66)}"
    yield f"{'help VERB':12} Show the options of a verb."
    yield f"{'exit':12} Leave, as Ctrl-D does."


def _lines(desk: Desk, commands: Commands, title: str) -> Iterator[str]:
    if _is_interactive():
        yield from prompted(desk, commands, f"{title}> ")
        return
    for line in sys.stdin:  # noqa: UP028 - `yield from` would close stdin with us
        yield line


def _is_interactive() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()
