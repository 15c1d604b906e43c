"""`status`: who the worker is and how it is, and what its memory did until now."""

from liveheap.commands.history import HISTORY
from liveheap.commands.status import STATUS
from liveheap.errors import CommandError
from liveheap.protocol.results import Table
from liveheap_client.desk import Desk
from liveheap_client.progress import bar
from liveheap_client.render import graph, shapes
from liveheap_client.session import Session
from liveheap_client.verbs.ask import help_text
from liveheap_client.verbs.base import Verb, json_option, target_argument


def perform(desk: Desk, *, as_json: bool, target: str | None = None) -> int:
    """Ask, and show the facts with a picture below; a pipe gets the facts."""
    with desk.caller(target) as caller, bar(desk.terminal) as progress:
        progress.update(STATUS.name)
        session = caller.session(STATUS.scope)
        facts = session.request(STATUS.name)
        watched = desk.terminal.look.human
        kept = history(session) if as_json or watched else []
    if as_json:
        desk.terminal.show_json({**shapes.as_json(facts), "history": kept})
        return 0
    desk.terminal.show(shapes.lines(facts, look=desk.terminal.look))
    picture = list(graph.lines(kept, look=desk.terminal.look))
    if picture:
        desk.terminal.show(["", *picture])
    return 0


def history(session: Session) -> list[dict[str, object]]:
    """Return what the agent noted; nothing from an agent that keeps no history."""
    try:
        shape = session.request(HISTORY.name)
    except CommandError as exc:
        if exc.code != "unknown-command":
            raise
        return []
    return shape.as_dicts() if isinstance(shape, Table) else []


VERB = Verb(
    name=STATUS.name,
    help=help_text(STATUS),
    perform=perform,
    params=(json_option(),),
    target_params=(target_argument(),),
)
