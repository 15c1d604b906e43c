"""`detach`: make an agent leave, and see it go."""

from typing import Any

from liveheap.commands.detach import DETACH
from liveheap.protocol.results import Record
from liveheap_client.desk import Desk
from liveheap_client.verbs.ask import help_text, option
from liveheap_client.verbs.base import Verb, json_option, target_argument


def perform(
    desk: Desk, *, as_json: bool, target: str | None = None, **args: Any
) -> int:
    """Ask it to leave; return when it has hung up."""
    with desk.caller(target) as caller:
        session = caller.session(DETACH.scope)
        answer = session.request(DETACH.name, args)
        session.see_it_end()
    assert isinstance(answer, Record)
    if as_json:
        desk.terminal.show_json(answer.as_dict())
    else:
        desk.terminal.show([f"the agent has left process {session.ident.pid}"])
    return 0


VERB = Verb(
    name=DETACH.name,
    help=help_text(DETACH),
    scope=DETACH.scope,
    perform=perform,
    params=(*map(option, DETACH.params), json_option()),
    target_params=(target_argument(),),
)
