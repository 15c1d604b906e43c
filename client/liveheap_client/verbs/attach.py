"""`attach`: a shell on one worker.

A worker of this machine that has no agent may get one first, with a yes. What a session
started ends with it: an agent that came for this shell leaves with it, unless told to
stay, or others have come to use it.

The shell itself takes longer to be imported than many a link to be dialled. So a thread
of its own imports it while ssh connects and Python starts over there.
"""

import os
import tempfile
import threading
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import click

from liveheap.errors import AuthenticationError, LiveheapError
from liveheap.protocol.auth import Scope
from liveheap.protocol.results import Record
from liveheap_client import target as targets
from liveheap_client.caller import Caller
from liveheap_client.desk import Desk
from liveheap_client.render import tasks
from liveheap_client.render.units import human
from liveheap_client.session import Session
from liveheap_client.target import Kind
from liveheap_client.verbs.base import Verb, target_argument

_LOOP = "liveheap_client.shell.loop"
_HELP = """Open a shell on a worker, with the same verbs.

Tab completes, Ctrl-C cancels what runs, Ctrl-D leaves. Lines may also come from a
pipe. The worker works on; it stops only as long as each verb's help says.

A process of this machine that has no agent can get one for as long as the shell lasts;
you are asked first. `liveheap inject` brings one that stays.
"""

_BANNER_FACTS = (
    ("program", ""),
    ("kind", ""),
    ("framework", ""),
    ("python", "Python"),
    ("uptime", "up"),
    ("rss", "RSS"),
    ("threads", "threads"),
    ("greenlets", "greenlets"),
)
_AMOUNT_FIRST = frozenset({"threads", "greenlets"})


def perform(
    desk: Desk, *, target: str | None, yes: bool, agent: str | None, stay: bool
) -> int:
    """Bring an agent in if there is none; open the session, say who is there, and hand
    over to the loop."""
    assert desk.shell_commands is not None
    _be_sure_of("prompt_toolkit")
    came = _bring_in(desk, target, yes=yes, agent=agent, is_to_leave=not stay)
    threading.Thread(target=import_module, args=(_LOOP,), daemon=True).start()
    with (
        desk.caller(target) as caller,
        tempfile.TemporaryDirectory(prefix="liveheap-") as directory,
    ):
        try:
            shell, title = _shell(desk, caller, Path(directory))
            from liveheap_client.shell.loop import loop  # noqa: PLC0415 - on its way

            return loop(shell, desk.shell_commands(shell), title=title)
        finally:
            if came and not stay:
                _leave(desk, caller)


def _be_sure_of(package: str) -> None:
    """Raise ModuleNotFoundError if the shell cannot be had, before anybody is asked."""
    if find_spec(package) is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)


def _bring_in(
    desk: Desk, target: str | None, *, yes: bool, agent: str | None, is_to_leave: bool
) -> bool:
    """Bring an agent into a process that has none; return whether one came."""
    pid = _local_process(target)
    if pid is None:
        return False
    from liveheap_client.inject import command  # noqa: PLC0415 - a host needs none of it

    if command.has_agent(pid, os.environ):
        return False
    arrival = command.inject(
        pid,
        yes=yes,
        agent=Path(agent) if agent else None,
        say=desk.terminal.say,
        verb="attach",
    )
    if arrival is None:
        return False
    for line in command.summary(arrival, is_to_leave=is_to_leave):
        desk.terminal.say(line)
    return arrival.way != "running"


def _local_process(target: str | None) -> int | None:
    """Return the process that was named, if it is one of this machine."""
    text = target or os.environ.get("LIVEHEAP_TARGET")
    place = targets.parse(text) if text else None
    return place.pid if place is not None and place.kind is Kind.LOCAL else None


def _shell(desk: Desk, caller: Caller, directory: Path) -> tuple[Desk, str]:
    """Open the session and say who is there; return the shell's desk and title."""
    session = _open(desk, caller)
    status = session.request("status")
    for line in banner(session, status if isinstance(status, Record) else None):
        desk.terminal.say(line)
    shell = Desk(
        desk.terminal, lambda _target: caller, in_shell=True, directory=directory
    )
    return shell, f"liveheap {session.ident.pid}"


def _leave(desk: Desk, caller: Caller) -> None:
    """Have the agent that came for this shell leave, unless others use it."""
    try:
        session = caller.session(Scope.READ)
        status = session.request("status")
        if isinstance(status, Record) and status.as_dict().get("sessions", 1) > 1:
            desk.terminal.say("the agent stays: others use it")
            return
        session.request("detach")
        desk.terminal.say(f"the agent has left process {session.ident.pid}")
    except LiveheapError as error:
        desk.terminal.say(f"the agent was not told to leave: {error}")


def banner(session: Session, status: Record | None) -> list[str]:
    """Return who answers, what it is, how old and how big, and what it runs."""
    ident = session.ident
    first = f"worker {ident.pid} on {ident.host}, scope {session.agreed.scope.label}"
    if status is None:
        return [first]
    units = {name: unit for name, unit, _ in status.fields}
    values = status.as_dict()
    parts = []
    for name, word in _BANNER_FACTS:
        if values.get(name) is None:
            continue
        text = human(values[name], units[name])
        pair = (text, word) if name in _AMOUNT_FIRST else (word, text)
        parts.append(" ".join(filter(None, pair)))
    lines = [first, ", ".join(parts)]
    if running := tasks.summary(values):
        lines.append(running)
    if values.get("engine") not in (None, "ok"):
        lines.append(f"no snapshots here: {values['engine']}")
    return lines


def _open(desk: Desk, caller: Caller) -> Session:
    """Open a session of scope graph, or of scope read where that is the ceiling."""
    try:
        return caller.session(Scope.GRAPH)
    except AuthenticationError as error:
        if error.code != "scope":
            raise
        desk.terminal.say(f"{error}: histogram and status only")
        return caller.session(Scope.READ)


VERB = Verb(
    name="attach",
    help=_HELP,
    perform=perform,
    target_params=(
        target_argument(),
        click.Option(["--yes"], is_flag=True, help="Bring an agent in without asking."),
        click.Option(
            ["--agent"],
            metavar="DIR_OR_WHEEL",
            help="The agent to bring, where the worker's Python is not this one.",
        ),
        click.Option(
            ["--stay"], is_flag=True, help="Leave an agent that was brought in there."
        ),
    ),
    in_shell=False,
)
