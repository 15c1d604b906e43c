"""`detach`: make an agent leave, and see it go."""

import contextlib
import time
from typing import Any

from liveheap.commands.detach import DETACH
from liveheap.errors import LiveheapError
from liveheap.protocol.results import Record
from liveheap_client.desk import Desk
from liveheap_client.session import Session
from liveheap_client.verbs.ask import help_text, option
from liveheap_client.verbs.base import Verb, json_option, target_argument

GONE_WITHIN_S = 5.0
LOOK_EVERY_S = 0.01


def perform(
    desk: Desk, *, as_json: bool, target: str | None = None, **args: Any
) -> int:
    """Ask it to leave; return when it has hung up."""
    with desk.caller(target) as caller:
        session = caller.session(DETACH.scope)
        answer = session.request(DETACH.name, args)
        _see_it_go(session)
    assert isinstance(answer, Record)
    if as_json:
        desk.terminal.show_json(answer.as_dict())
    else:
        desk.terminal.show([f"the agent has left process {session.ident.pid}"])
    return 0


def _see_it_go(session: Session) -> None:
    deadline = time.monotonic() + GONE_WITHIN_S
    with contextlib.suppress(LiveheapError):
        while session.still_open() and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY_S)


VERB = Verb(
    name=DETACH.name,
    help=help_text(DETACH),
    perform=perform,
    params=(*map(option, DETACH.params), json_option()),
    target_params=(target_argument(),),
)
