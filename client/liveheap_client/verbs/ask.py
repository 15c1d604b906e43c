"""Ask and show: the verbs that are nothing but a command of the agent."""

from collections.abc import Callable
from typing import Any

import click

from liveheap.commands import Command, Param
from liveheap.protocol.messages import Progress
from liveheap.protocol.results import Table
from liveheap_client.desk import Desk
from liveheap_client.progress import Bar, bar
from liveheap_client.render import shapes
from liveheap_client.render.flags import reservations
from liveheap_client.render.units import human_seconds
from liveheap_client.verbs.base import Amount, Count, Verb, json_option, target_argument

_OTHER_NAMES = {"top": ("--limit", "-n"), "max_pause_ms": ("--max-pause",)}


def asking(command: Command) -> Verb:
    """Return the verb of a command that no verb of ours overrides."""

    def perform(
        desk: Desk, *, as_json: bool, target: str | None = None, **args: Any
    ) -> int:
        return ask(desk, command, target, args, as_json=as_json)

    return Verb(
        name=command.name,
        help=help_text(command),
        perform=perform,
        params=(*map(option, command.params), json_option()),
        target_params=(target_argument(),),
        scope=command.scope,
    )


def ask(
    desk: Desk,
    command: Command,
    target: str | None,
    args: dict[str, Any],
    *,
    as_json: bool,
    rename: Callable[[shapes.Shape], shapes.Shape] = lambda shape: shape,
) -> int:
    """Send one request and show its result, as `rename` calls things."""
    notes: list[Progress] = []
    with desk.caller(target) as caller, bar(desk.terminal) as progress:
        progress.update(command.name)
        session = caller.session(command.scope_of(args))
        shape = session.request(
            command.name, args, on_progress=telling_steps(command.name, progress, notes)
        )
    show(desk, rename(shape), as_json=as_json)
    if desk.terminal.talk_is_watched and not as_json:
        for note in notes:
            desk.terminal.say(cost_line(note))
    return 0


def show(desk: Desk, shape: shapes.Shape, *, as_json: bool) -> None:
    """Show a result; remember the names in it for completion."""
    if as_json:
        desk.terminal.show_json(shapes.as_json(shape))
        return
    desk.terminal.show(shapes.lines(shape, look=desk.terminal.look))
    if isinstance(shape, Table):
        desk.names.update(str(row[0]) for row in shape.rows if row)


def option(param: Param) -> click.Option:
    """Return the option of a command's parameter."""
    flag = f"--{param.name.replace('_', '-')}"
    names = [param.name, flag, *_OTHER_NAMES.get(param.name, ())]
    if param.type is bool:
        return click.Option(
            names, is_flag=True, default=bool(param.default), help=_sentence(param.help)
        )
    return click.Option(
        names,
        type=_kind(param),
        default=param.default,
        show_default=param.default is not None,
        metavar=param.metavar or None,
        help=_sentence(param.help),
    )


def help_text(command: Command) -> str:
    """Return a command's help, as the agent's author wrote it."""
    return "\n".join(line.strip() for line in command.help.strip().splitlines())


def cost_line(note: Progress) -> str:
    """Say what a walk of the heap cost the worker."""
    parts = []
    if isinstance(pause_ns := note.detail.get("pause_ns"), int | float):
        parts.append(f"the worker stopped for {human_seconds(pause_ns / 1e9)}")
    if note.detail.get("in_process"):
        parts.append("it counted by itself, without a fork")
    parts += reservations(note.detail.get("flags"))
    return "; ".join(parts)


def telling_steps(
    title: str, progress: Bar, notes: list[Progress]
) -> Callable[[Progress], None]:
    """Return what shows the steps of a command, and keeps those that tell a cost."""

    def tell(event: Progress) -> None:
        text = title if event.phase == title else f"{title}: {event.phase}"
        progress.update(text, done=event.done, total=event.total)
        if "pause_ns" in event.detail:
            notes.append(event)

    return tell


def _kind(param: Param) -> Any:
    if param.type is int:
        low = None if param.minimum is None else int(param.minimum)
        high = None if param.maximum is None else int(param.maximum)
        return Count(low, high)
    if param.type is float:
        return Amount(param.minimum, param.maximum)
    return click.STRING


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}".rstrip(".") + "."
