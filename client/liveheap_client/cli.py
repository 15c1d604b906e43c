"""The command line: verbs, their options, their help. Needs the extra `cli`.

A verb is described once, as a Verb. From it come the command of the shell's prompt
(`liveheap VERB`) and the one inside `liveheap attach`, which lacks the options that say
how to connect. Commands of the agent that no verb here overrides become verbs by
themselves: ask, and show what comes.

Nothing here prints an error or exits: `__main__` does, for all verbs alike.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import click

from liveheap.commands import COMMANDS
from liveheap_client import bare
from liveheap_client.caller import Caller
from liveheap_client.desk import Desk
from liveheap_client.dial import CONNECT_TIMEOUT_S, DialOptions, choose
from liveheap_client.errors import OK, UsageError
from liveheap_client.patience import TIMEOUT_S, Patience
from liveheap_client.target import FORMS, via
from liveheap_client.terminal import Terminal
from liveheap_client.verbs import VERBS, Verb, asking
from liveheap_client.verbs.base import Amount

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 88}

_CONNECTING = (
    click.Option(
        ["--timeout"],
        type=Amount(min=0.1),
        default=TIMEOUT_S,
        show_default=True,
        metavar="S",
        help="Give up after this long without a word from the worker.",
    ),
    click.Option(
        ["--connect-timeout"],
        type=Amount(min=0.1),
        default=CONNECT_TIMEOUT_S,
        show_default=True,
        metavar="S",
        help="Give up if no connection stands after this long.",
    ),
    click.Option(["--via"], metavar="CMD", help="Talk over the stdio of CMD."),
    click.Option(["--no-mux"], is_flag=True, help="Share no ssh connection."),
    click.Option(
        ["--remote-command"], metavar="CMD", help="What liveheap is called on HOST."
    ),
)


def verbs() -> tuple[Verb, ...]:
    """Return all verbs that ask a worker: ours, and those the agent describes."""
    ours = {*bare.SUMMARIES, *(verb.name for verb in VERBS)}
    asked = tuple(
        asking(command)
        for command in COMMANDS
        if command.is_verb and command.name not in ours
    )
    return (*asked, *VERBS)


def command_line() -> click.Group:
    """Return `liveheap` as click knows it."""
    group = click.Group(
        "liveheap",
        help=(
            "Ask a running Python worker what it holds, who holds it, and what grows."
            f"\n\nA TARGET is one of: {FORMS}. Without one: $LIVEHEAP_TARGET, or the "
            "only worker here."
        ),
        params=[
            click.Option(
                ["--version"],
                is_flag=True,
                expose_value=False,
                help="Show the version and exit.",
            )
        ],
        context_settings=_SETTINGS,
    )
    for verb in verbs():
        group.add_command(_outside(verb))
    for name, summary in bare.SUMMARIES.items():
        group.add_command(_bare(name, summary))
    return group


def shell_commands(desk: Desk) -> dict[str, click.Command]:
    """Return the verbs of a shell, all working at one desk."""
    return {verb.name: _inside(verb, desk) for verb in verbs() if verb.in_shell}


def run(words: Sequence[str]) -> int:
    """Run one command line; return its exit code. Errors pass through."""
    try:
        outcome = command_line().main(
            args=list(words) or ["--help"], prog_name="liveheap", standalone_mode=False
        )
    except click.UsageError as exc:
        raise UsageError(exc.format_message(), hint=_help_of(exc)) from exc
    except click.exceptions.Abort:
        raise KeyboardInterrupt from None
    return outcome if isinstance(outcome, int) else OK


def _help_of(exc: click.UsageError) -> str:
    where = exc.ctx.command_path if exc.ctx else "liveheap"
    return f"{where} --help"


def _outside(verb: Verb) -> click.Command:
    """Return a verb that makes its own desk from the words on the command line."""

    def callback(**given: Any) -> int:
        terminal = Terminal.standard()
        if not verb.connects:
            return _perform(verb, Desk(terminal, _nobody), given)
        options = {
            name: given.pop(name)
            for name in (
                "timeout",
                "connect_timeout",
                "via",
                "no_mux",
                "remote_command",
            )
        }
        dialling = _dialling(options, terminal)
        desk = Desk(
            terminal,
            lambda target: _caller(target, options["via"], dialling),
            shell_commands=shell_commands,
            options=dialling,
        )
        return _perform(verb, desk, given)

    params = [*verb.params, *verb.target_params]
    if verb.connects:
        params += _CONNECTING
    return click.Command(
        verb.name,
        params=list(params),
        help=verb.whole_help,
        short_help=verb.summary,
        callback=callback,
        context_settings=_SETTINGS,
    )


def _inside(verb: Verb, desk: Desk) -> click.Command:
    """Return a verb that works at the shell's desk."""

    def callback(**given: Any) -> int:
        return _perform(verb, desk, given)

    return click.Command(
        verb.name,
        params=[*verb.params, *verb.shell_params],
        help=verb.whole_help,
        short_help=verb.summary,
        callback=callback,
        context_settings=_SETTINGS,
    )


def _perform(verb: Verb, desk: Desk, given: Mapping[str, Any]) -> int:
    try:
        code = verb.perform(desk, **given)
        desk.finish()
    finally:
        desk.later.clear()  # or a shell would keep the graph of a verb that failed
    return code


def _bare(name: str, summary: str) -> click.Command:
    """Return a verb that argparse handles, so that it stands in the help."""

    def callback(words: Sequence[str]) -> int:
        return bare.main(name, list(words))

    return click.Command(
        name,
        params=[click.Argument(["words"], nargs=-1, type=click.UNPROCESSED)],
        help=summary,
        short_help=summary,
        callback=callback,
        add_help_option=False,
        context_settings={"ignore_unknown_options": True},
    )


def _caller(target: str | None, command: str | None, dialling: DialOptions) -> Caller:
    if command is not None and target:
        raise UsageError(
            f"--via and the target {target!r} exclude each other",
            hint="the command behind --via says which worker",
        )
    place = choose(target, os.environ) if command is None else via(command)
    return Caller.to(place, dialling)


def _dialling(options: Mapping[str, Any], terminal: Terminal) -> DialOptions:
    return DialOptions(
        connect_timeout_s=options["connect_timeout"],
        patience=Patience(timeout_s=options["timeout"], say=terminal.say),
        multiplex=not options["no_mux"],
        remote_command=options["remote_command"],
    )


def _nobody(_target: str | None) -> Caller:
    raise UsageError("this verb asks no worker")
