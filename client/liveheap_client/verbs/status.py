"""`status`: who the worker is and how it is, what it runs, what its memory did.

Ids of tasks are data, and shown where the worker gives scope graph.
"""

from liveheap.commands.history import HISTORY
from liveheap.commands.status import STATUS
from liveheap.errors import AuthenticationError, CommandError
from liveheap.protocol.auth import Scope
from liveheap.protocol.results import Record, Table
from liveheap_client.caller import Caller
from liveheap_client.desk import Desk
from liveheap_client.progress import bar
from liveheap_client.render import graph, scopes, shapes, tasks
from liveheap_client.session import Session
from liveheap_client.verbs.ask import help_text
from liveheap_client.verbs.base import Verb, json_option, target_argument

APART = (*tasks.LISTS, "limits", scopes.LIST)


def perform(desk: Desk, *, as_json: bool, target: str | None = None) -> int:
    """Ask, and show the facts with a picture below; a pipe gets the facts."""
    with desk.caller(target) as caller, bar(desk.terminal) as progress:
        progress.update(STATUS.name)
        session = open_session(caller)
        shape = session.request(STATUS.name)
        watched = desk.terminal.look.human
        kept = history(session) if as_json or watched else []
    if as_json:
        desk.terminal.show_json({**shapes.as_json(shape), "history": kept})
        return 0
    look = desk.terminal.look
    facts = shape.as_dict() if isinstance(shape, Record) else {}
    desk.terminal.show(shapes.lines(without_lists(shape), look=look))
    for part in (
        scopes.lines(facts, look=look),
        tasks.lines(facts, look=look),
        graph.lines(kept, look=look),
    ):
        if block := list(part):
            desk.terminal.show(["", *block])
    return 0


def open_session(caller: Caller) -> Session:
    """Open a session of scope graph, or of scope read where that is the ceiling."""
    try:
        return caller.session(Scope.GRAPH)
    except AuthenticationError as error:
        if error.code != "scope":
            raise
        return caller.session(STATUS.scope)


def without_lists(shape: shapes.Shape) -> shapes.Shape:
    """Return the facts without those that have a table of their own.

    What the owner allows is in --json, and `liveheap doctor` says it.
    """
    if not isinstance(shape, Record):
        return shape
    return Record(tuple(each for each in shape.fields if each[0] not in APART))


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
    scope=STATUS.scope,
    perform=perform,
    params=(json_option(),),
    target_params=(target_argument(),),
)
