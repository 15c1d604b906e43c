"""`attach`: a shell on one worker."""

import tempfile
from pathlib import Path

from liveheap.errors import AuthenticationError
from liveheap.protocol.auth import Scope
from liveheap.protocol.results import Record
from liveheap_client.caller import Caller
from liveheap_client.desk import Desk
from liveheap_client.render import tasks
from liveheap_client.render.units import human
from liveheap_client.session import Session
from liveheap_client.verbs.base import Verb, target_argument

_HELP = """Open a shell on a worker, with the same verbs.

Tab completes, Ctrl-C cancels what runs, Ctrl-D leaves. Lines may also come from a
pipe. The worker works on; it stops only as long as each verb's help says.
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


def perform(desk: Desk, *, target: str | None) -> int:
    """Open the session, say who is there, and hand over to the loop."""
    from liveheap_client.shell.loop import loop  # noqa: PLC0415 - prompt_toolkit is slow

    assert desk.shell_commands is not None
    with (
        desk.caller(target) as caller,
        tempfile.TemporaryDirectory(prefix="liveheap-") as directory,
    ):
        session = _open(desk, caller)
        status = session.request("status")
        for line in banner(session, status if isinstance(status, Record) else None):
            desk.terminal.say(line)
        shell = Desk(
            desk.terminal,
            lambda _target: caller,
            in_shell=True,
            directory=Path(directory),
        )
        title = f"liveheap {session.ident.pid}"
        return loop(shell, desk.shell_commands(shell), title=title)


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
    target_params=(target_argument(),),
    in_shell=False,
)
